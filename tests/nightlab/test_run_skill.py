import asyncio

import numpy as np
import pytest

from nightlab.errors import SkillError
from nightlab.skills.motion import Hands, move
from nightlab.skills.run import perform
from nightlab.testing.fake_station import FakeStation
from robots.profiles import load_profile
from robots.worlds import make_world


def test_a_motion_that_the_station_refuses_is_the_skills_failure() -> None:
    async def run() -> None:
        station = FakeStation(make_world("yam_bench", load_profile("nominal", "yam_bench"), 1))
        lease = await station.lease("test", (await station.describe()).limits)
        async with station.control(lease) as session:
            seen = await session.hold()
            hands = Hands.of(seen.values, seen.executed)
            beyond = hands.pose("left") + np.array([0.0, 0.0, 0.0, 0.0, 0.0, 2.5])
            with pytest.raises(SkillError, match=r"the station refused a motion: .*left_pose"):
                await perform(session, move(hands, "left", beyond), hands)
            await session.hold()

    asyncio.run(run())
