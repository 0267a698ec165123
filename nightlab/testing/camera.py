"""The contract suite of a station's camera: what every camera driver must keep, with a device, a recording or a fake.

Subclass `CameraContract` in a test module, give `open`, and the suite runs:

    class TestMyCamera(CameraContract):
        def open(self):
            return my_camera()  # context manager that yields a fresh, opened camera

A camera that can be made to fall silent gives `silence` too. Every assertion carries the rule that was broken.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

from nightlab.errors import StationError
from nightlab.records import CameraSpec

PATIENCE_s = 10.0


class CameraContract:
    """Inherit and give `open`."""

    def open(self) -> AbstractContextManager[Any]:
        """A fresh camera (`robots.driver.Camera`)."""
        raise NotImplementedError

    def silence(self, camera: Any) -> bool:
        """Make the device give no more pictures; False: this one cannot be silenced."""
        return False

    def test_its_spec_is_what_it_delivers(self) -> None:
        with self.open() as camera:
            spec = camera.spec()
            assert isinstance(spec, CameraSpec), "spec() is a CameraSpec"
            rgb = camera.render()
            assert rgb.shape == (spec.height_px, spec.width_px, 3), "the picture has the size of the spec"
            assert rgb.dtype == np.uint8, "uint8"
            depth = camera.render_depth()
            assert (depth is not None) == spec.depth, "depth exactly if the spec says so"
            if depth is not None:
                assert depth.shape == rgb.shape[:2], "depth is aligned: pixel for pixel of the colour picture"
                assert depth.dtype == np.float32, "metres as float32"
                assert np.isfinite(depth).all(), "never NaN"
                assert (depth >= 0).all(), "0 where nothing was measured, never NaN"
            if spec.intrinsics is not None:
                assert 0 <= spec.intrinsics.cx_px <= spec.width_px, "principal point inside the picture"
                assert min(spec.intrinsics.fx_px, spec.intrinsics.fy_px) > 0, "focal lengths are positive"

    def test_a_film_is_square(self) -> None:
        with self.open() as camera:
            assert camera.render(64).shape == (64, 64, 3), "size_px scales to a square"

    def test_a_look_does_not_wait_and_pictures_go_on(self) -> None:
        with self.open() as camera:
            camera.render()
            begin_s = time.monotonic()
            for _ in range(20):
                first = camera.render()
            assert (time.monotonic() - begin_s) / 20 < 0.1, "render gives the newest picture, it does not wait for one"
            deadline_s = time.monotonic() + PATIENCE_s
            while np.array_equal(camera.render(), first) and time.monotonic() < deadline_s:
                time.sleep(0.02)
            assert not np.array_equal(camera.render(), first), "new pictures come while nobody asks"

    def test_a_stale_picture_is_refused(self) -> None:
        with self.open() as camera:
            camera.render()
            if not self.silence(camera):
                pytest.skip("this camera cannot be silenced")
            with pytest.raises(StationError, match=r"old|silent|ended") as caught:
                _look_for(camera, PATIENCE_s)
            assert "\n" not in str(caught.value), "one line, with what to do"

    def test_a_closed_camera_says_so(self) -> None:
        with self.open() as camera:
            camera.render()
            camera.close()
            with pytest.raises(StationError, match=r"closed"):
                camera.render()
            camera.close()


def _look_for(camera: Any, seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        camera.render()
        time.sleep(0.02)
