"""The instruments of the chaos runs do what they say; the runs themselves: tests/flows/test_chaos.py."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import chaos_faults as faults
from benchmarks.chaos_cells import SAMPLE, STAGES, VALID, all_cells, left, parse_cells
from benchmarks.chaos_lab import Motion, Sample
from benchmarks.chaos_table import page
from nightlab.errors import UsageError

CLIENT = (
    "import socket, sys; c = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(c.recv(9), flush=True)"
)


@pytest.mark.skipif(os.getuid() != 0, reason="taking another process's sockets needs root")
def test_disconnect_cuts_both_ends_and_kills_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = subprocess.Popen([sys.executable, "-c", CLIENT, str(server.getsockname()[1])], stdout=subprocess.PIPE)
        end, _ = server.accept()
        assert faults.disconnect(client.pid) == 1
        end.settimeout(10)
        assert end.recv(1) == b""
        assert client.communicate(timeout=20)[0] == b"b''\n", "its read ended; it went on"
        end.close()


@pytest.mark.skipif(not faults.can_mount(), reason="a small disk needs root and mount namespaces")
def test_fill_takes_the_last_byte_and_gives_it_back() -> None:
    script = (
        "import pathlib, subprocess, sys; from benchmarks import chaos_faults as f\n"
        "room = pathlib.Path(sys.argv[1])\n"
        "subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'x', room], check=True)\n"
        "assert not f.full(room); spare = f.fill(room); assert f.full(room); spare.unlink(); assert not f.full(room)\n"
        "subprocess.run(['umount', room], check=True)\n"
        "lab = room / 'lab'; [(lab / name).mkdir(parents=True) for name in f.MOUNTS]\n"
        "f.small_disks(lab); assert (lab / 'spool').is_mount(); f.drop_disks(lab); assert not (lab / 'spool').is_mount()\n"
        "import shutil; shutil.rmtree(lab); print('done')"
    )
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", script, "/mnt"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "done\n", done.stderr


def test_the_cells() -> None:
    every = all_cells(3)
    kills = {cell: n for cell, n in every.items() if cell[0] == "kill"}
    assert len(kills) == len(VALID) == 8 * len(STAGES) + 5
    assert set(kills.values()) == {3}
    assert len(every) - len(kills) >= 12, "other faults on at least 12 cells"
    assert len(parse_cells(["sample"], 1)) == len(SAMPLE) == 10
    assert parse_cells(["kill/policy/rollout"], 2) == {("kill", "policy", "rollout"): 2}
    with pytest.raises(UsageError, match="unknown cell 'kill/policy/train'"):
        parse_cells(["kill/policy/train"], 1)


def test_hits_that_are_done_are_not_done_again_and_make_the_table(tmp_path: Path) -> None:
    hit = {
        "fault": "kill", "process": "trial", "stage": "rollout", "ok": True, "why": "", "back_s": 2.0, "motion_s": 0.03, "stopped_s": 0.08,
    }  # fmt: skip
    out = tmp_path / "hits.jsonl"
    out.write_text(json.dumps(hit) + "\n" + json.dumps({**hit, "ok": False, "why": "no recovery"}) + "\n")
    assert left(parse_cells(["kill/trial/rollout"], 3), out) == {("kill", "trial", "rollout"): 2}, (
        "what failed is not done"
    )
    text = page([json.loads(line) for line in out.read_text().splitlines()])
    assert "2 hits on 1 cells, 1 ok" in text
    assert "| kill | trial | rollout | 2 | 1 | 2.0, 2.0 | 30 | 80 |" in text
    assert "- kill/trial/rollout: no recovery" in text
    silent = page(
        [{**hit, "fault": "disconnect", "process": "fleet", "back_s": None, "motion_s": None, "stopped_s": None}]
    )
    assert "| disconnect | fleet | rollout | 1 | 1 |  |  |  |" in silent, "nothing showed when it was back"


def test_motion_counts_until_the_lease_ends() -> None:
    def samples(*rows: tuple[float, float, str, int]) -> list[Sample]:
        return [Sample(*row) for row in rows]

    motion = Motion.__new__(Motion)
    motion.samples = {
        "a": samples((9.9, 9.85, "I1", 0), (10.1, 10.02, "I1", 0), (10.2, 10.2, "I7", 0), (15.1, 15.1, "I1", 0)),
        "b": samples((9.9, 9.85, "I2", 3), (10.1, 10.05, "I2", 3), (15.1, 15.1, "I2", 4)),
    }
    assert motion.stopped_after(10.0, "I1") == pytest.approx(0.02), "its later lease is another one"
    assert motion.stopped_after(10.0, "I2") == pytest.approx(0.05), "so it is when the first ran out"
    assert motion.stopped_after(10.0, "I7") is None, "it had no lease when the fault came"


def test_a_robot_moves_for_the_holder_of_its_lease_while_its_commands_are_fresh() -> None:
    motion = Motion.__new__(Motion)
    now_s = time.time()
    motion.samples = {"a": [Sample(now_s, now_s - 0.5, "I1", 0)], "b": [Sample(now_s, now_s, "I2", 0)], "c": []}
    assert motion.moving("I2", 1.0)
    assert not motion.moving("I1", 0.1), "its last command is old"
    assert not motion.moving("I3", 1.0)
