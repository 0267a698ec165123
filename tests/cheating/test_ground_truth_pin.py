"""Listens on the wires of an episode of pin insertion: of the truth nothing but the declared sensors and estimates."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from environments.pin_insertion.start import sample_start
from nightlab.pin_box import HOLES
from robots.profiles import load_profile
from tasks.episode import policy_seed
from tests.cheating.wire import PROFILE, SECRET, SEED, STEPS, Heard, episode_key, listen

WORLD = "yam_bench"
RESTING = slice(4, 10)
"""Steps at which the arm stands still."""
DECLARED = {"peak_force_N", "grip_force_N"}
"""True values that a sensor of the station gives as they are: the wrists' force log, and the jaws' force, at its cap."""
FRESH = {"mouth_0_x_m", "mouth_0_y_m"}
"""A bench that was just started stands straight above hole 0, so the pose that it is first told to keep has the place of
that mouth. It is on the harness's wires until the first reset moves the arm away, never on the policy's."""
PLACES = tuple(
    f"{name}_{axis}_m" for name in ("tip", "pin", *(f"mouth_{hole}" for hole in range(len(HOLES)))) for axis in "xyz"
)
ACT = """
if self.n == 1:
    self.pose = observation["right_tcp"].copy()
if self.n > 10:
    self.pose[:2] += np.clip(observation["hole_estimate"][:2] - observation["pin_estimate"][:2], -0.002, 0.002)
    self.pose[2] -= 0.002
action = {channel.key: np.array(channel.low, float) for channel in self.spec.actions}
return [{**action, "right_pose": self.pose, "right_stiffness": np.array([1000.0, 30.0])}]
"""


@pytest.fixture(scope="module")
def heard() -> Iterator[Heard]:
    with TemporaryDirectory(prefix="nl") as name:
        yield asyncio.run(listen(Path(name), "pin_insertion", ACT))


def test_the_wires_were_really_listened_to(heard: Heard) -> None:
    assert not heard.raw.fault
    assert len(heard.truths) == STEPS
    assert {*PLACES, "yaw_rad", "depth_m", "hole_noise_m", "contact_friction"} <= set(heard.truths[0])
    told = [row["peak_force"][1] for row in heard.seen[2:]]
    assert all(struct.pack("<d", value) in heard.from_station for value in told), "sensors travel as eight bytes each"
    moved = [truth["pin_z_m"] for truth in heard.truths]
    assert max(moved) - min(moved) > 0.0005, "an episode in which something happened"


def test_no_truth_but_declared_sensors_is_on_a_wire(heard: Heard) -> None:
    assert heard.leaked(heard.to_policy) <= DECLARED
    from_station = heard.leaked(heard.from_station)
    assert "grip_force_N" in from_station, "what is on the wire is found"
    assert from_station <= DECLARED | FRESH
    assert heard.leaked(heard.to_station) <= FRESH


def test_the_policys_own_observations_hold_no_truth(heard: Heard) -> None:
    seen = {value for row in heard.seen for values in row.values() for value in values}
    secret = {
        (name, value) for truth in heard.truths for name, value in truth.items()
        if value != round(value) and name not in DECLARED
    }  # fmt: skip
    assert len(secret) > 10 * STEPS
    assert not {name for name, value in secret if value in seen}


def test_the_policy_is_told_its_channels_and_nothing_else(heard: Heard) -> None:
    said = heard.messages
    assert [message[0] for message in said] == ["reset"] + ["act"] * (STEPS + 1) + ["close"]
    spec = said[0][1]
    assert set(spec) == set(type(heard.spec).model_fields)
    channels = {channel["key"] for channel in spec["observations"]}
    assert all(set(message[1]) == channels for message in said if message[0] == "act")
    assert {key for row in heard.seen for key in row} == channels
    text = json.dumps(spec)
    for trait in load_profile(PROFILE, WORLD).spreads():
        assert trait not in text, f"the station's description names the trait {trait}"


def test_no_picture_and_no_start_reaches_the_policy(heard: Heard) -> None:
    assert b"\x89PNG" not in heard.to_policy
    assert len(heard.to_policy) < 4096 * (STEPS + 20), "640 by 480 pixels would not fit"
    for name, value in sample_start(SEED).items():
        if name != "hole":
            assert struct.pack("<d", value) not in heard.to_policy, f"the start's {name} as the seed draws it"


def test_the_seed_is_on_no_wire_to_the_policy(heard: Heard) -> None:
    told = heard.messages[0][2]
    assert told == policy_seed(episode_key(), SECRET)
    assert told not in (SEED, policy_seed(episode_key()))
    for form in (str(SEED).encode(), SEED.to_bytes(4, "big"), SEED.to_bytes(4, "little")):
        assert form not in heard.to_policy
        assert form not in heard.log.encode()


def test_the_estimates_are_off_as_the_profile_declares_and_cannot_be_averaged(heard: Heard) -> None:
    traits, hole = heard.truths[0], int(heard.truths[0]["hole"])
    assert {row["target_hole"][0] for row in heard.seen} == {float(hole)}
    estimates = {tuple(row["hole_estimate"]) for row in heard.seen}
    assert len(estimates) == 1, "drawn once per episode: looking often tells no more"
    mouth = np.array([traits[f"mouth_{hole}_{axis}_m"] for axis in "xyz"])
    off_m = np.abs(np.array(estimates.pop()) - mouth) / (traits["hole_noise_m"] * np.array([1.0, 1.0, 0.2]))
    assert 0.01 < off_m.max() < 5.0
    assert off_m.min() > 0.0
    truths, told = heard.truths[RESTING], heard.seen[1:][RESTING]
    errors = np.array([
        np.array(row["pin_estimate"][:3]) - [truth[f"pin_{axis}_m"] for axis in "xyz"]
        for row, truth in zip(told, truths, strict=True)
    ])  # fmt: skip
    assert np.abs(errors - errors[0]).max() < 0.2 * traits["pin_noise_m"], "one error for the whole episode"
    assert 0.2 < np.abs(errors[0]).max() / traits["pin_noise_m"] < 5.0
    noisy = np.array([row["right_tcp"] for row in heard.seen])
    assert len({tuple(row) for row in noisy.tolist()}) == len(noisy), "encoders are noisy in every period"
