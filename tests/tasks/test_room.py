"""Stages and a full disk: they wait, do their work anew, and blame nobody."""

import asyncio
import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from nightlab.errors import PolicyError
from tasks import room as module
from tasks.room import room, waited
from tasks.stage import _with_room

LAB: Any = SimpleNamespace(lab=None)
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the disk says at the next looks; there is room afterwards."""
    says: list[str] = []
    monkeypatch.setattr(module, "LOOK_S", 0.001)
    monkeypatch.setattr(module, "short", lambda lab: says.pop(0) if says else "")
    return says


def test_room_is_waited_for_and_said_once(disk: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    disk += ["0 MiB free at /lab, 12 needed"] * 3
    asyncio.run(room(LAB))
    assert disk == []
    assert capsys.readouterr().err.count("paused: 0 MiB free at /lab, 12 needed. Free some space") == 1


def test_only_a_full_disk_is_waited_out(disk: list[str]) -> None:
    assert asyncio.run(waited(LAB, FULL))
    assert not asyncio.run(waited(LAB, PolicyError("train.py ended with code 1: No space left on device")))
    disk += ["0 MiB free", "0 MiB free"]
    assert asyncio.run(waited(LAB, PolicyError("train.py ended with code 1"))), "the disk itself says so"


def test_a_stage_is_done_anew(disk: list[str]) -> None:
    ends: list[Any] = [FULL, FULL, {"ok": True}]

    async def body() -> dict[str, Any]:
        end = ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return dict(end)

    assert asyncio.run(_with_room(LAB, body)) == {"ok": True}
    ends += [ValueError("its own fault"), {"ok": True}]
    with pytest.raises(ValueError, match="its own fault"):
        asyncio.run(_with_room(LAB, body))
