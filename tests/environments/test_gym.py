"""The Gymnasium adapter: made by name, spaces from the station, the verdict at the end."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import environments.gym
from nightlab.errors import SafetyError, StationError


@pytest.fixture
def env():  # type: ignore[no-untyped-def]
    made = gymnasium.make("nightlab/push_t-v0", render_mode="rgb_array")
    yield made
    made.close()


def test_make_reset_step(env: gymnasium.Env) -> None:
    first, info = env.reset(seed=5)
    again, _ = env.reset(seed=5)
    assert all(np.array_equal(first[key], again[key]) for key in ("agent_xy", "block_pose"))
    assert env.observation_space.contains(first)
    assert info["reset"]["simulator_shortcut"]
    assert info["reset"]["rejected_starts"] >= 0
    observation, reward, terminated, truncated, info = env.step({"target_xy": first["agent_xy"] + 10.0})
    assert env.observation_space.contains(observation)
    assert 0.0 <= reward <= 1.0
    assert (terminated, truncated) == (False, False)
    assert info["steps"] == 1
    assert env.render().shape == (512, 512, 3)


def test_the_last_step_carries_the_verdict(env: gymnasium.Env) -> None:
    observation, _ = env.reset(seed=1)
    truncated, steps = False, 0
    while not truncated:
        _, _, _, truncated, info = env.step({"target_xy": observation["agent_xy"]})
        steps += 1
    assert steps == 300
    assert info["verdict"]["outcome"] == "failure"
    assert info["verdict"]["reason"] == "never_moved"


def test_bad_actions_are_refused_and_seeds_drawn(env: gymnasium.Env) -> None:
    env.reset()
    with pytest.raises(SafetyError, match="outside"):
        env.step({"target_xy": np.array([-5.0, 0.0])})
    assert env.reset()[1]["reset"]["asked"] != env.reset()[1]["reset"]["asked"]


def test_step_before_reset_says_so() -> None:
    made = environments.gym.GymEnvironment("push_t")
    with pytest.raises(StationError, match="step before reset"):
        made.step({"target_xy": np.zeros(2)})
    made.close()
    made.close()
