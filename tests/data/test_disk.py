import asyncio
import errno
import os
import sqlite3
from pathlib import Path

import pytest

from data import disk
from data.disk import is_full, refusal, short, short_at
from data.episodes import pack
from data.keeper import Keeper
from data.keeper_client import KeeperClient, _result
from data.keeper_socket import answer
from data.lab import Lab
from data.testing import scripted_arrays, scripted_record
from nightlab.errors import DiskFullError, LabError, PolicyError


def test_room_is_short_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab.create(tmp_path / "lab")
    assert short(lab) == ""
    assert short_at(tmp_path / "none") == ""
    monkeypatch.setattr(disk, "ENOUGH_MIB", 1e12)
    monkeypatch.setattr(disk, "ENOUGH_SHARE", 2.0)
    assert f"MiB free at {lab.path}, " in short(lab)


def test_what_says_that_a_disk_is_full() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    wrapped = LabError("cannot write")
    wrapped.__cause__ = full
    assert is_full(full)
    assert is_full(wrapped)
    assert is_full(sqlite3.OperationalError("database or disk is full"))
    assert is_full(LabError("git commit-tree failed: fatal: No space left on device"))
    assert not is_full(PolicyError("train.py ended with code 1: No space left on device")), "an agent may print that"
    assert not is_full(OSError(errno.EACCES, "no"))


def test_the_keeper_refuses_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab.create(tmp_path / "lab")
    keeper = Keeper(lab)
    record, arrays = scripted_record(1), scripted_arrays()
    call = {"call": "put_episode", "with": {"blob": pack(record, arrays)}}
    real = os.fsync

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def main() -> None:
        monkeypatch.setattr(os, "fsync", full)
        reply = await answer(keeper, call)
        assert reply["kind"] == "DiskFullError", reply
        with pytest.raises(DiskFullError, match="Nothing is lost; free some space and the campaign goes on"):
            _result(reply)
        assert list(lab.spool_dir.glob("*.episode")) == list(lab.spool_dir.glob(".*.part")) == []
        assert keeper.desk.ledger.events(kind="episode") == []
        monkeypatch.setattr(os, "fsync", real)
        assert (await answer(keeper, call))["result"] is True
        assert (await answer(keeper, call))["result"] is False, "made again it is not counted again"

    asyncio.run(main())
    assert len(keeper.desk.ledger.events(kind="episode")) == 1


def test_a_campaigns_client_waits_for_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab.create(tmp_path / "lab")
    client = KeeperClient(lab.keeper_socket, full_s=60.0)
    told = refusal(lab)
    replies = [{"error": str(told), "kind": "DiskFullError"}] * 2 + [{"result": 7}]

    async def once(_: object) -> object:
        return replies.pop(0)

    monkeypatch.setattr(client, "_once", once)
    monkeypatch.setattr("data.keeper_client.FULL_LOOK_S", 0.01)
    assert asyncio.run(client.call("append")) == 7
    impatient = KeeperClient(lab.keeper_socket, full_s=0.0)
    replies = [{"error": str(told), "kind": "DiskFullError"}] * 3
    monkeypatch.setattr(impatient, "_once", once)
    with pytest.raises(DiskFullError, match="the lab's disk is full"):
        asyncio.run(impatient.call("append"))
