"""A camera that was moved is found by the table's walls; nothing that a policy can do looks like one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from environments.push_t.mounting import is_displaced
from robots.worlds.push_t_camera import render_table


def moved(rgb: NDArray[np.uint8], right_px: float, down_px: float, turned_deg: float) -> NDArray[np.uint8]:
    matrix = cv2.getRotationMatrix2D((256, 256), turned_deg, 1.0)
    matrix[:, 2] += (right_px, down_px)
    return np.asarray(cv2.warpAffine(rgb, matrix, (512, 512), borderValue=(255, 255, 255)), dtype=np.uint8)


@pytest.mark.parametrize("how", [(2, 0, 0), (-5, 0, 0), (20, 0, 0), (0, 28, 0), (3, 3, 0), (0, 0, 1), (0, 0, 4)])
def test_a_moved_camera_is_found(how: tuple[float, float, float]) -> None:
    scene = render_table((60.0, 60.0), (256.0, 256.0, 0.78))
    assert not is_displaced(scene)
    assert is_displaced(moved(scene, *how))


def test_no_place_of_disc_and_t_looks_like_a_moved_camera() -> None:
    rng = np.random.default_rng(0)
    edges = (10.0, 40.0, 80.0, 430.0, 480.0, 500.0)
    for number in range(120):
        if number % 3:
            pose = (*rng.uniform(-10, 522, 2), rng.uniform(-np.pi, np.pi))
        else:  # flat against walls and in corners
            pose = (rng.choice(edges), rng.choice(edges), rng.choice([0, np.pi / 2, np.pi, -np.pi / 2]))
        scene = render_table(rng.uniform(10, 502, 2).tolist(), [float(value) for value in pose])
        if number % 4 == 0:
            scene = np.clip(scene + rng.normal(0, 12, scene.shape), 0, 255).astype(np.uint8)
        assert not is_displaced(scene), pose
