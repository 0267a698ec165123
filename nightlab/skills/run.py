"""Running a skill on a control stream."""

from __future__ import annotations

from nightlab.contracts import ControlSession
from nightlab.skills.motion import Hands, Skill


async def perform(session: ControlSession, skill: Skill, hands: Hands) -> None:
    """Run a skill to its end, one action per control period; `hands.seen` is the last observation then.

    Raises SkillError from the skill, StationError from the station.
    """
    try:
        action = next(skill)
        while True:
            (seen,) = await session.step([action])
            action = skill.send(seen.values)
    except StopIteration:
        return
    finally:
        skill.close()
