"""Leaving a station as episodes leave it, for `nightlab reset-check`: the arms do it, through `step` and `evidence`.

Half of the rehearsals insert the pin into some hole to some depth, the others press it on the rim, on the plate, scrape
along the plate, or do nothing. The truth from SimulatorAdmin tells where the hole is: this is the checker, no policy.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from environments.pin_insertion import spec
from nightlab.contracts import ControlSession, Environment, Lease, SimulatorAdmin, Station
from nightlab.errors import SkillError
from nightlab.skills.motion import Hands, Skill, glide, move, pause, touch
from nightlab.skills.pin import raised
from nightlab.skills.steady import steady

Array = NDArray[np.float64]

KINDS = (("insert", 0.5), ("rim", 0.15), ("press", 0.15), ("scrape", 0.1), ("nothing", 0.1))
"""What a rehearsal does, and how often."""
PRESS_N = (10.0, 35.0)
DEEPEST_m = 0.024
OVER_m = 0.004
SOFT = (500.0, 15.0)


async def rehearse(environment: Environment, station: Station, lease: Lease, admin: SimulatorAdmin, seed: int) -> str:
    """Drive one episode of the kind that `seed` draws, with its evidence routine; returns the kind."""
    draw = random.Random(seed)
    kind = draw.choices([name for name, _ in KINDS], [share for _, share in KINDS])[0]
    async with steady(station, lease, f"rehearse-{kind}") as session:
        seen = await session.hold()
        hands = Hands.of(seen.values, seen.executed)
        if kind != "nothing":
            hole = int(seen.values["target_hole"][0]) if draw.random() < 0.7 else draw.randrange(spec.HOLES)
            truth = await admin.truth()
            mouth = _point(truth, f"mouth_{hole}")
            await _drive(environment, session, _over(hands, mouth, _point(truth, "pin"), kind, draw))
            for _ in range(3):
                off = _aim(mouth, kind, draw) - _point(await admin.truth(), "pin")[:2]
                pose = hands.pose("right").copy()
                pose[:2] += off
                hands.point("right", pose)
                await _drive(environment, session, pause(hands, 0.3))
            await _drive(environment, session, _down(hands, kind, draw))
        await environment.evidence(station, session)
    return kind


def _point(truth: Mapping[str, float], name: str) -> Array:
    return np.array([truth[f"{name}_{axis}_m"] for axis in "xyz"])


def _aim(mouth: Array, kind: str, draw: random.Random) -> Array:
    """Where the tip shall be, (2,) m."""
    off_m = {"insert": 0.0002, "rim": 0.0015, "press": 0.010, "scrape": 0.010}[kind]
    return np.array([mouth[0] + draw.gauss(0.0, off_m), mouth[1] + draw.gauss(0.0, off_m)])


def _over(hands: Hands, mouth: Array, tip: Array, kind: str, draw: random.Random) -> Skill:
    """Tip to just above the aim."""
    arrow = tip - hands.seen["right_tcp"][:3]
    place = np.array([*_aim(mouth, kind, draw), mouth[2] + OVER_m]) - arrow
    yield from move(hands, "right", [*place, 0.0, 0.0, draw.uniform(-0.3, 0.3)], within_m=0.0005, must=False)


def _down(hands: Hands, kind: str, draw: random.Random) -> Skill:
    """Down into the hole to some depth, or on the plate until it presses; perhaps along it."""
    hands.soften("right", SOFT)
    if kind == "insert":
        depth_m = draw.uniform(0.0, DEEPEST_m)
        yield from glide(hands, "right", raised(hands.pose("right"), -OVER_m - depth_m), speed_m_s=0.03)
        yield from pause(hands, 0.5)
        return
    yield from touch(hands, "right", (0.0, 0.0, -1.0), force_N=draw.uniform(*PRESS_N), reach_m=0.05)
    if kind == "scrape":
        pose = hands.pose("right").copy()
        pose[:2] += (draw.uniform(-0.02, 0.02), draw.uniform(-0.02, 0.02))
        yield from glide(hands, "right", pose, speed_m_s=0.04)
    yield from pause(hands, 0.3)


async def _drive(environment: Environment, session: ControlSession, skill: Skill) -> None:
    """Run a skill as a policy would, through `environment.step`, until it ends or the episode does."""
    try:
        action = next(skill)
        while True:
            result = await environment.step(session, action)
            if result.terminated or result.truncated:
                return
            action = skill.send(result.observation.values)
    except (StopIteration, SkillError):
        return
    finally:
        skill.close()
