import asyncio
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from conftest import until

from commands import hearts
from commands.hearts import see_silent
from data.lab import Lab
from nightlab.heartbeat import Silence
from tasks.heart import heart, hearts_dir, process_of, relabel

SLEEPER = (
    "import asyncio, sys; from pathlib import Path; from tasks.heart import heart\n"
    "async def main():\n    async with heart(Path(sys.argv[1]), 'trial'):\n        await asyncio.sleep(60)\n"
    "asyncio.run(main())"
)


def test_the_fleet_kills_a_stopped_trial_and_nobody_else(lab: Lab) -> None:
    folder = hearts_dir(lab)
    sleepers = [subprocess.Popen([sys.executable, "-c", SLEEPER, folder]) for _ in range(2)]
    try:
        until(lambda: len(list(folder.glob("trial-*"))) == 2, "both hearts beat")

        async def watch() -> None:
            watching = asyncio.create_task(see_silent(folder, every_s=0.1, silence_s=2.5))
            await asyncio.sleep(1.5)
            os.kill(sleepers[0].pid, signal.SIGSTOP)
            async with asyncio.timeout(20):
                while sleepers[0].poll() is None:
                    await asyncio.sleep(0.05)
                while len(list(folder.iterdir())) > 1:
                    await asyncio.sleep(0.05)
            watching.cancel()

        asyncio.run(watch())
        assert sleepers[0].returncode == -signal.SIGKILL
        assert sleepers[1].poll() is None
        left = [process_of(path) for path in folder.iterdir()]
        assert [process.pid for process in left if process] == [sleepers[1].pid], "the dead one's file is removed"
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()


def test_a_heart_that_was_given_another_name_is_forgotten_under_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: weakref.WeakSet[Silence] = weakref.WeakSet()

    class Counted(Silence):
        def __init__(self, path: Path, pid: int) -> None:
            super().__init__(path, pid)
            kept.add(self)

    monkeypatch.setattr(hearts, "Silence", Counted)

    async def watch() -> None:
        watching = asyncio.create_task(see_silent(tmp_path, every_s=0.01))
        async with heart(tmp_path, "trial-robot-0"):
            for number in range(1, 6):
                while not any(one.path.exists() for one in kept):
                    await asyncio.sleep(0.01)
                relabel(f"trial-robot-{number}")
            await asyncio.sleep(0.2)
            assert [one.path.name.rpartition("-")[0] for one in kept] == ["trial-robot-5"]
        watching.cancel()

    asyncio.run(asyncio.wait_for(watch(), 30))


def test_foreign_files_are_nobodys_heart(tmp_path: Path) -> None:
    assert process_of(tmp_path / "notes.txt") is None
    assert process_of(tmp_path / "trial-x.y") is None
