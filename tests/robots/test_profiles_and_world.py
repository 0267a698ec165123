"""Profiles are sampled as declared, and the world keeps its truth to itself."""

from pathlib import Path

import numpy as np
import pytest

from nightlab.errors import NightlabError
from robots.profiles import load_profile
from robots.worlds.push_t import START, START_KEYS, PushTWorld

OBSERVED = {"agent_xy", "block_pose"}


def run(world: PushTWorld, seed: int, steps: int = 25) -> list[list[float]]:
    world.teleport(START, seed)
    rows = []
    for step in range(steps):
        world.step({"target_xy": np.array([256.0 + 3 * step, 400.0 - 5 * step])})
        seen = world.observe()
        rows.append([*seen["agent_xy"], *seen["block_pose"]])
    return rows


def test_nominal_is_exact_and_the_same_everywhere() -> None:
    first, second = (PushTWorld(load_profile("nominal"), station) for station in (1, 2))
    assert run(first, 7) == run(second, 8)
    truth = first.truth()
    assert first.observe()["block_pose"].tolist()[:2] == [truth["block_x_px"], truth["block_y_px"]]


def test_real_differs_by_station_and_by_episode_but_repeats() -> None:
    profile = load_profile("real")
    assert run(PushTWorld(profile, 1), 7) == run(PushTWorld(profile, 1), 7)
    assert run(PushTWorld(profile, 1), 7) != run(PushTWorld(profile, 1), 8)
    assert run(PushTWorld(profile, 1), 7) != run(PushTWorld(profile, 2), 7)


def test_observations_hold_no_ground_truth() -> None:
    world = PushTWorld(load_profile("real"), 3)
    world.teleport(START, 1)
    assert set(world.observe()) == OBSERVED
    assert {channel.key for channel in world.spec("robot-1", 10.0).observations} == OBSERVED
    assert world.observe()["block_pose"].tolist() == world.observe()["block_pose"].tolist()


@pytest.mark.parametrize("start", [{}, {**START, "coverage": 1.0}, {**START, START_KEYS[0]: float("nan")}])
def test_bad_start_says_what_a_start_needs(start: dict[str, float]) -> None:
    world = PushTWorld(load_profile("nominal"), 0)
    with pytest.raises(NightlabError, match="agent_x_px"):
        world.teleport(start, 0)


def test_unknown_profile_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(NightlabError, match="hard, nominal, real"):
        load_profile("dreamy")
    broken = tmp_path / "mine.yaml"
    broken.write_text("friction: {value: much}\n")
    with pytest.raises(NightlabError, match=r"mine\.yaml"):
        load_profile(str(broken))


def test_a_file_with_the_same_fields_is_a_profile(tmp_path: Path) -> None:
    copy = tmp_path / "mine.yaml"
    copy.write_text(Path("robots/profiles/push_t/real.yaml").read_text())
    assert load_profile(str(copy)).model_dump(exclude={"name"}) == load_profile("real").model_dump(exclude={"name"})
