"""The end of an episode: let go of a pin that stands in a hole, step aside, and take what the verifier will judge.

Trusted code, run by the trial process after the policy is done with. A pin that does not stand in a hole by the sensors
stays in the gripper: the cameras then see it there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from environments.pin_insertion import spec
from environments.pin_insertion.sense import insertion
from environments.pin_insertion.verify import is_unsure
from nightlab.contracts import ControlSession, EpisodeEvidence, Frame, Observation, Station, Values
from nightlab.depth import on_grid
from nightlab.errors import SkillError
from nightlab.skills.motion import Hands, Skill, holds
from nightlab.skills.pin import open_and_retreat
from nightlab.skills.run import perform

LOOKS = 4
"""Control periods at rest over which the sensors are averaged."""


async def collect(
    station: Station,
    session: ControlSession,
    evidence_of: Callable[[Sequence[Frame], Sequence[Values]], EpisodeEvidence],
) -> EpisodeEvidence:
    """A frame of each camera in each of 3 held periods, and the observations at them; 3 more if the first look is unsure.

    `evidence_of` makes the evidence of frames and observations. Raises StationError only for a fault of the station: a
    gripper that does not get aside is no reason to lose the episode, the cameras then judge what they see.
    """
    resting: list[Observation] = [await session.hold() for _ in range(LOOKS)]
    deep = [found.depth_m for found in (insertion(seen.values) for seen in resting) if found.in_hole]
    if len(deep) == LOOKS and min(deep) > spec.RELEASE_DEPTH_m and holds(resting[-1].values, "right"):
        hands = Hands.of(resting[-1].values, resting[-1].executed)
        with suppress(SkillError):  # the policy was late and its stream stopped: no way to have an episode repeated
            await perform(session, _aside(hands), hands)
    frames: list[Frame] = []
    observations: list[Values] = []
    evidence = evidence_of((), ())
    for wanted in (spec.HELD_FRAMES, spec.HELD_FRAMES + spec.EXTRA_FRAMES):
        while len(frames) < wanted * len(spec.CAMERAS):
            seen = await session.hold()
            for camera in spec.CAMERAS:
                frames.append(region(await station.capture(camera)))
                observations.append(seen.values)
        evidence = evidence_of(tuple(frames), tuple(observations))
        if not await asyncio.to_thread(is_unsure, evidence):
            break
    return evidence


def _aside(hands: Hands) -> Skill:
    try:
        yield from open_and_retreat(hands, "right", spec.RETREAT_m, spec.ASIDE_m)
    except SkillError:
        return


def region(frame: Frame) -> Frame:
    """A frame with all black but the camera's region of `spec.REGIONS_px`."""
    top, bottom, left, right = spec.REGIONS_px[frame.camera]
    rgb = np.zeros_like(frame.rgb)
    rgb[top:bottom, left:right] = frame.rgb[top:bottom, left:right]
    if frame.depth_m is None:
        return replace(frame, rgb=rgb)
    depth_m = np.zeros_like(frame.depth_m)
    depth_m[top:bottom, left:right] = on_grid(frame.depth_m[top:bottom, left:right])
    return replace(frame, rgb=rgb, depth_m=depth_m)
