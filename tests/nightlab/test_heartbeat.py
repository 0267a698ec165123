import os
import signal
import subprocess
import sys
from pathlib import Path

from nightlab.heartbeat import Silence, beat, state


def test_silence_grows_only_while_nothing_beats(tmp_path: Path) -> None:
    file, now = tmp_path / "beat", [100.0]
    beat(file)
    silence = Silence(file, clock=lambda: now[0])
    for _ in range(3):
        now[0] += 1.0
        seen = silence.look()
    assert seen == 3.0
    assert not silence.seen, "it has not beaten since somebody watches: it may still be starting"
    os.utime(file, ns=(1, 1))
    assert silence.look() == 0.0
    assert silence.seen


def test_a_watcher_that_slept_blames_nobody(tmp_path: Path) -> None:
    file, now = tmp_path / "beat", [0.0]
    beat(file)
    silence = Silence(file, clock=lambda: now[0])
    now[0] += 3600.0
    assert silence.look() == 2.0, "an hour between two looks is the watcher's own sleep"


def test_waiting_for_a_cpu_is_hardly_silence(tmp_path: Path) -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    file, now = tmp_path / "beat", [0.0]
    beat(file)
    try:
        while state(busy.pid) != "R":
            pass
        silence = Silence(file, busy.pid, clock=lambda: now[0])
        now[0] += 1.0
        assert silence.look() == 0.125
        os.kill(busy.pid, signal.SIGSTOP)
        while state(busy.pid) != "T":
            pass
        now[0] += 1.0
        assert silence.look() == 1.125, "a stopped process is silent in full"
    finally:
        busy.kill()
        busy.wait()
    assert state(busy.pid) == ""


def test_a_beat_needs_no_space_once_the_file_is_there(tmp_path: Path) -> None:
    beat(tmp_path / "none" / "beat")  # nowhere to make it: no error, a later beat tries again
    file = tmp_path / "beat"
    beat(file)
    before = file.stat().st_mtime_ns
    os.utime(file, ns=(1, 1))
    beat(file)
    assert file.stat().st_mtime_ns >= before
    assert file.stat().st_size == 0
