import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from conftest import until

from commands.hearts import see_silent
from data.lab import Lab
from tasks.heart import hearts_dir, process_of

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


def test_foreign_files_are_nobodys_heart(tmp_path: Path) -> None:
    assert process_of(tmp_path / "notes.txt") is None
    assert process_of(tmp_path / "trial-x.y") is None
