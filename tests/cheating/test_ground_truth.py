"""Listens on the wires of an episode: nothing of the simulator's truth reaches the policy but its declared sensors."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from robots.profiles import load_profile
from tasks.episode import policy_seed
from tests.cheating.wire import PROFILE, SECRET, SEED, STEPS, Heard, episode_key, listen

DECLARED = {"agent_x_px", "agent_y_px"}
"""True values that a sensor of the station gives as they are: the disc's own encoder."""
ACT = """
return [{"target_xy": np.clip(observation["agent_xy"] + np.sign(observation["block_pose"][:2] - observation["agent_xy"]) * 25, 5, 500)}]
"""


@pytest.fixture(scope="module")
def heard() -> Iterator[Heard]:
    with TemporaryDirectory(prefix="nl") as name:
        yield asyncio.run(listen(Path(name), "push_t", ACT))


def test_the_wires_were_really_listened_to(heard: Heard) -> None:
    assert len(heard.truths) == STEPS
    assert {"block_x_px", "block_angle_rad", "coverage", "friction"} <= set(heard.truths[0])
    assert heard.leaked(heard.to_policy) == heard.leaked(heard.from_station) == DECLARED


def test_the_policy_is_told_its_channels_and_nothing_else(heard: Heard) -> None:
    said = heard.messages
    assert [message[0] for message in said] == ["reset"] + ["act"] * (STEPS + 1) + ["close"]
    spec = said[0][1]
    assert set(spec) == set(type(heard.spec).model_fields)
    channels = {channel["key"] for channel in spec["observations"]}
    assert all(set(message[1]) == channels for message in said if message[0] == "act")
    text = json.dumps(spec)
    for trait in load_profile(PROFILE).spreads():
        assert trait not in text


def test_the_seed_is_on_no_wire_to_the_policy(heard: Heard) -> None:
    told = heard.messages[0][2]
    assert told == policy_seed(episode_key(), SECRET)
    assert told not in (SEED, policy_seed(episode_key()))
    for form in (str(SEED).encode(), SEED.to_bytes(4, "big"), SEED.to_bytes(4, "little")):
        assert form not in heard.to_policy
        assert form not in heard.log.encode()


def test_what_the_policy_saw_is_as_noisy_as_the_profile_declares(heard: Heard) -> None:
    seen = heard.seen
    assert len(seen) == STEPS + 1
    profile = load_profile(PROFILE)
    delay = int(profile.spreads()["observation_delay_steps"].value)
    pairs = [(row["block_pose"], truth) for row, truth in zip(seen[1 + delay :], heard.truths, strict=False)]
    errors = [math.hypot(pose[0] - truth["block_x_px"], pose[1] - truth["block_y_px"]) for pose, truth in pairs]
    declared_px = profile.spreads()["pose_noise_px"].value
    assert 0.4 * declared_px < float(np.mean(errors)) / math.sqrt(math.pi / 2) < 2.5 * declared_px
    assert min(errors) > 0
    assert {key for row in seen for key in row} == {"agent_xy", "block_pose"}
