"""A trial's heartbeat is named after the robot that it has."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tasks.heart import heart, process_of, relabel


def test_the_heartbeat_is_renamed_and_goes_on_under_the_new_name_only(tmp_path: Path) -> None:
    async def body() -> None:
        async with heart(tmp_path, "trial-waiting"):
            await asyncio.sleep(0.05)
            (first,) = tmp_path.iterdir()
            relabel("trial-robot-2")
            (second,) = tmp_path.iterdir()
            assert second.name.startswith("trial-robot-2-")
            assert process_of(second) == process_of(first)
            os.utime(second, (1, 1))
            await asyncio.sleep(1.2)
            (third,) = tmp_path.iterdir()
            assert third == second
            assert third.stat().st_mtime > 1, "it beats on"
        assert not list(tmp_path.iterdir())

    asyncio.run(body())
    relabel("trial-robot-1")
    assert not list(tmp_path.iterdir()), "without a heartbeat there is nothing to rename"
