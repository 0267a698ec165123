"""Running a skill on a control stream."""

from __future__ import annotations

from nightlab.contracts import ControlSession
from nightlab.errors import SafetyError, SkillError
from nightlab.skills.motion import Hands, Skill


async def perform(session: ControlSession, skill: Skill, hands: Hands) -> None:
    """Run a skill to its end, one action per control period; `hands.seen` is the last observation then.

    Raises:
        SkillError: from the skill, or the station refused one of its actions; the robot holds.
        StationError: from the station.
    """
    try:
        action = next(skill)
        while True:
            (seen,) = await session.step([action])
            action = skill.send(seen.values)
    except StopIteration:
        return
    except SafetyError as error:
        raise SkillError(f"the station refused a motion: {error}") from error
    finally:
        skill.close()
