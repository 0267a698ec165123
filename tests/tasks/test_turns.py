"""Turns: never more at once than there are places, over tasks and processes; nobody waits in a thread."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.turns import turn

HOLDER = """
import asyncio, sys
from pathlib import Path
from tasks.turns import turn
async def main():
    async with turn(Path(sys.argv[1])):
        print("mine", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("places", [1, 2])
def test_no_more_at_once_than_there_are_places_and_first_come_first_served(tmp_path: Path, places: int) -> None:
    inside, most, order = 0, 0, []

    async def one(number: int) -> None:
        nonlocal inside, most
        async with turn(tmp_path / "train", places):
            inside += 1
            most = max(most, inside)
            order.append(number)
            await asyncio.to_thread(lambda: None)  # none of asyncio's few threads is taken by those that wait
            await asyncio.sleep(0.01)
            inside -= 1

    async def main() -> None:
        await asyncio.wait_for(asyncio.gather(*(one(number) for number in range(40))), 30)

    asyncio.run(main())
    assert most == places
    assert order == sorted(order)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"train.{n}.lock" for n in range(1, places + 1)]


def test_a_place_is_shared_with_other_processes_and_free_once_its_holder_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "propose"], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "mine\n"

    async def wait(timeout_s: float) -> float:
        async with asyncio.timeout(timeout_s):
            async with turn(tmp_path / "propose") as waited_s:
                return waited_s

    try:
        with pytest.raises(TimeoutError):
            asyncio.run(wait(0.3))
        os.kill(holder.pid, signal.SIGKILL)
        assert asyncio.run(wait(10.0)) < 5.0
    finally:
        holder.kill()
        holder.wait()


def test_who_gives_up_waiting_keeps_no_place(tmp_path: Path) -> None:
    async def main() -> list[str]:
        got: list[str] = []

        async def take(name: str) -> None:
            async with turn(tmp_path / "train"):
                got.append(name)
                await asyncio.sleep(0.1)

        first, second, third = (asyncio.create_task(take(name)) for name in ("first", "second", "third"))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.wait_for(asyncio.gather(first, third), 10)
        with pytest.raises(asyncio.CancelledError):
            await second
        return got

    assert asyncio.run(main()) == ["first", "third"]
