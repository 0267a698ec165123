"""A cube fitted to depth along rays: found from any turn, and several first guesses are what each would be alone."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from environments.pin_insertion import cube
from environments.pin_insertion.cube import Floats, fit_cube
from nightlab import pin_box as box

EYE = np.array([0.0, 0.5, 0.18])


def measured(centre: Floats, turn: Floats, noise_m: float = 0.0) -> tuple[Floats, Floats]:
    """Directions [n, 3] of the rays that meet a cube, and the depths at which they do."""
    forward = (centre - EYE) / np.linalg.norm(centre - EYE)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    across, down = np.meshgrid(np.linspace(-0.025, 0.025, 60), np.linspace(-0.025, 0.025, 60))
    rays = forward + across.reshape(-1, 1) * right + down.reshape(-1, 1) * np.cross(forward, right)
    depth_m, _, hit = cube._cast(EYE, rays, centre[None], turn[None], box.HEAD_m / 2)
    noise = np.random.default_rng(3).normal(0.0, noise_m, len(rays)) if noise_m else 0.0
    return rays[hit[0]], (depth_m[0] + noise)[hit[0]]


@pytest.mark.parametrize("yaw_rad", [0.0, 0.5, 1.2, -2.0])
@pytest.mark.parametrize("lean_rad", [0.0, 0.08])
def test_a_cube_is_found_from_any_turn(yaw_rad: float, lean_rad: float) -> None:
    turn = cv2.Rodrigues(np.array([lean_rad, 0.0, 0.0]))[0] @ cube._upright(yaw_rad)
    centre = np.array([0.02, -0.02, 0.027])
    found = fit_cube(EYE, *measured(centre, turn, 0.0005))
    assert found.centre == pytest.approx(centre, abs=0.0003)
    assert math.acos(min(1.0, float(found.turn[:, 2] @ turn[:, 2]))) < 0.03
    assert found.misfit_m < 0.001


def test_guesses_together_are_what_each_is_alone() -> None:
    rays, depths = measured(np.array([-0.02, 0.02, 0.021]), cube._upright(0.4), 0.0005)
    start = EYE + np.median(rays * depths[:, None], axis=0)
    turns = np.array([cube._upright(number * 0.3) for number in range(4)])
    start = start + np.array([0.0, -0.006, 0.0])
    together = cube._descend(EYE, rays, depths, start, turns, 4)
    for one, turn in zip(together, turns, strict=True):
        (alone,) = cube._descend(EYE, rays, depths, start, turn[None], 4)
        assert one.centre == pytest.approx(alone.centre, abs=1e-12)
        assert one.turn == pytest.approx(alone.turn, abs=1e-12)
        assert one.misfit_m == pytest.approx(alone.misfit_m, abs=1e-12)


def test_a_guess_that_no_ray_meets_stays_where_it_is() -> None:
    rays, depths = measured(np.array([0.0, 0.0, 0.025]), cube._upright(0.0))
    (lost,) = cube._descend(EYE, rays, depths, np.array([0.3, 0.0, 0.3]), cube._upright(0.1)[None], 4)
    assert lost.misfit_m == math.inf
    assert lost.centre.tolist() == [0.3, 0.0, 0.3]


def test_a_guess_that_no_ray_meets_does_not_disturb_the_others() -> None:
    forward = np.array([0.0, -1.0, 0.0])
    across = np.linspace(-0.001, 0.001, 20)
    rays = np.array([[x, -1.0, z] for x in across for z in across])
    start = EYE + 0.3 * forward + np.array([1.2 * box.HEAD_m / 2, 0.0, 0.0])
    turns = np.array([cube._upright(math.pi / 4), cube._upright(0.0)])
    met, lost = cube._descend(EYE, rays, np.full(len(rays), 0.3), start, turns, 4)
    assert met.misfit_m < 0.01
    assert lost.misfit_m == math.inf
    assert lost.centre.tolist() == start.tolist()
