"""The bench's cameras see what the drawing says, in colour and in metres."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from nightlab import pin_box
from nightlab.errors import StationError
from robots.profiles import YamBenchProfile, load_profile
from robots.worlds.yam_bench import START, YamBenchWorld

MARKER_RGB = {0: (230, 38, 38), 1: (38, 166, 64), 2: (38, 76, 230), 3: (242, 204, 26)}


def bench(**fields: float) -> YamBenchWorld:
    exact = {"image_noise": 0, "depth_noise_m": 0}
    loaded = load_profile("nominal", "yam_bench").model_dump()
    world = YamBenchWorld(YamBenchProfile.model_validate({**loaded, **exact, **fields}), 3)
    world.teleport({**START, "hole": 0.0, "tip_x_m": 0.03, "tip_y_m": -0.03, "tip_z_m": 0.06}, 1)
    return world


def project(camera: str, point_m: np.ndarray) -> tuple[float, float, float]:
    """Column, row (px) and distance along the axis (m) of a point of the table frame."""
    position, target, _ = pin_box.CAMERAS[camera]
    right, up, back = (np.array(row) for row in pin_box.look_at(position, target))
    off = point_m - np.array(position)
    z = -float(off @ back)
    f = pin_box.focal_px(camera)
    width, height = pin_box.IMAGE_PX
    return width / 2 + f * float(off @ right) / z, height / 2 - f * float(off @ up) / z, z


@pytest.mark.parametrize("camera", ["top", "side"])
def test_markers_are_where_the_drawing_projects_them(camera: str) -> None:
    world = bench()
    truth = world.truth()
    rgb, depth_m = world.render(camera), world.render_depth(camera)
    assert depth_m is not None
    middle = np.mean([[truth[f"mouth_{n}_{axis}_m"] for axis in "xyz"] for n in range(4)], axis=0)
    found = 0
    for number, (u, v) in enumerate(pin_box.HOLES):
        edge = pin_box.PLATE_EDGE_m / 2 - 0.008
        point = np.add(middle, [np.sign(u) * edge, np.sign(v) * edge, 0.0002])
        column, row, z = project(camera, point)
        want = np.array(MARKER_RGB[number], dtype=np.float64)
        shades = rgb.astype(np.float64) / np.maximum(1.0, rgb.max(axis=2, keepdims=True))
        mask = (np.abs(shades - want / want.max()).max(axis=2) < 0.12) & (rgb.max(axis=2) > 60)
        rows, columns = np.nonzero(mask)
        if len(rows) < 30:
            continue  # behind the arm
        found += 1
        assert columns.mean() + 0.5 == pytest.approx(column, abs=0.6), f"marker {number} column"
        assert rows.mean() + 0.5 == pytest.approx(row, abs=0.6), f"marker {number} row"
        assert float(np.median(depth_m[mask])) == pytest.approx(z, abs=0.0025)
    assert found >= 3


def test_film_is_the_square_middle_and_depth_is_of_the_same_look() -> None:
    world = bench(depth_noise_m=0.001)
    assert world.render("side", 256).shape == (256, 256, 3)
    world.render("top")
    first, second = world.render_depth("top"), world.render_depth("top")
    assert first is not None
    assert second is not None
    assert np.array_equal(first, second)
    assert first.dtype == np.float32
    assert np.array_equal(world.render("top"), world.render("top"))


def test_any_thread_may_ask_for_a_picture() -> None:
    world = bench()
    here = world.render("side")
    there: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: there.append(world.render("wrist")))
    thread.start()
    thread.join()
    assert there[0].shape == here.shape
    assert here.std() > 20
    assert there[0].std() > 20


def test_light_and_noise_and_jitter_follow_the_profile() -> None:
    bright, dim = bench().render("side"), bench(light=0.6).render("side")
    assert dim.mean() < 0.8 * bright.mean()
    noisy = bench(image_noise=4).render("side").astype(float) - bright
    assert noisy[bright.max(axis=2) > 60].std() == pytest.approx(4.0, rel=0.3)
    moved = bench(camera_jitter_m=0.003, camera_jitter_rad=0.01).render("side")
    assert np.abs(moved.astype(float) - bright).mean() > 1.0


def test_unknown_camera_names_those_there_are() -> None:
    with pytest.raises(StationError, match="there is: top, side, wrist"):
        bench().render("front")
