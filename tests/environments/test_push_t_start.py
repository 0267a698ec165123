"""Starts: the seed's own, within the ranges, none that breaks a rule, and how often one did."""

from __future__ import annotations

import math

import pytest

from environments.push_t.start import START_KEYS, broken_rule, sample_start
from nightlab.geometry import AGENT_RADIUS_PX, distance_to_t, t_outline


def test_a_seed_means_the_same_start_for_ever() -> None:
    start, rejected = sample_start(1)
    assert [round(start[key], 6) for key in START_KEYS] == PINNED
    assert rejected == 0


PINNED = [103.745698, 388.973495, 329.132386, 176.520708, -0.028682]


def test_starts_keep_the_rules_and_a_tenth_is_drawn_again() -> None:
    drawn = [sample_start(seed) for seed in range(1500)]
    for start, _ in drawn:
        agent_x, agent_y, *pose = (start[key] for key in START_KEYS)
        assert 50 <= agent_x <= 450
        assert 50 <= agent_y <= 450
        assert all(100 <= value <= 400 for value in pose[:2])
        assert -math.pi <= pose[2] <= math.pi
        assert distance_to_t((agent_x, agent_y), pose) > AGENT_RADIUS_PX - 1e-9
        assert t_outline(pose).min() >= 7
        assert t_outline(pose).max() <= 504
    rejected = sum(count for _, count in drawn)
    assert 0.06 < rejected / (rejected + len(drawn)) < 0.15


@pytest.mark.parametrize(
    ("agent", "pose", "rule"),
    [
        ((60.0, 60.0), (256.0, 256.0, 0.0), None),
        ((256.0, 300.0), (256.0, 256.0, 0.0), "the disc overlaps the T"),
        ((60.0, 60.0), (400.0, 400.0, 0.0), "the T touches a wall"),
    ],
)
def test_broken_rules_are_named(agent: tuple[float, float], pose: tuple[float, float, float], rule: str | None) -> None:
    assert broken_rule(agent, pose) == rule
