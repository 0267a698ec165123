from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from nightlab.errors import StationError, UsageError
from nightlab.records import CellConfig
from nightlab.records.cell import CameraConfig
from nightlab.testing.camera import CameraContract
from robots.drivers import open_cameras
from robots.drivers.opencv import OpenCvCamera, open_camera
from tests.robots.waiting import until


def film(folder: Path, pictures: int = 40) -> Path:
    """A video whose picture k is red 5·k with a blue left half."""
    path = folder / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (64, 48))
    for k in range(pictures):
        bgr = np.zeros((48, 64, 3), np.uint8)
        bgr[..., 2] = 5 * k
        bgr[:, :32, 0] = 200
        writer.write(bgr)
    writer.release()
    return path


class TestOpenCvCamera(CameraContract):
    """A video file, played in real time, keeps the contract."""

    @pytest.fixture(autouse=True)
    def _film(self, tmp_path: Path) -> None:
        self.path = film(tmp_path)

    def open(self) -> AbstractContextManager[OpenCvCamera]:
        return self._open()

    @contextmanager
    def _open(self) -> Iterator[OpenCvCamera]:
        camera = open_camera("top", {"index_or_path": str(self.path), "loop": True})
        try:
            yield camera
        finally:
            camera.close()

    def silence(self, camera: OpenCvCamera) -> bool:
        camera._options = camera._options.model_copy(update={"loop": False})
        return True


def test_colours_are_rgb_and_settings_reach_the_spec(tmp_path: Path) -> None:
    lens = {"fx_px": 60.0, "fy_px": 60.0, "cx_px": 32.0, "cy_px": 24.0}
    camera = open_camera(
        "top", {"index_or_path": str(film(tmp_path)), "width_px": 64, "height_px": 48, "intrinsics": lens}
    )
    try:
        left, right = camera.render()[24, 8], camera.render()[24, 56]
        assert left[2] > 150 > right[2], "blue is the last channel: RGB"
        spec = camera.spec()
        assert (spec.key, spec.width_px, spec.height_px, spec.depth) == ("top", 64, 48, False)
        assert spec.intrinsics is not None
        assert spec.intrinsics.fx_px == 60.0
    finally:
        camera.close()


class Device:
    """Stands for `cv2.VideoCapture` of a device: gives `pictures`, then none until it is opened again."""

    opened, pictures = 0, 5

    def __init__(self, _: object) -> None:
        Device.opened += 1
        self.left = self.pictures if Device.opened == 1 else 10**9
        self.released = False

    def isOpened(self) -> bool:
        return True

    def set(self, *_: float) -> bool:
        return True

    def get(self, _: int) -> float:
        return 30.0

    def release(self) -> None:
        self.released = True

    def read(self) -> tuple[bool, object]:
        self.left -= 1
        return self.left > 0 and not self.released, np.zeros((48, 64, 3), np.uint8)


def test_a_silent_device_is_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Device)
    monkeypatch.setattr(Device, "opened", 0)
    camera = open_camera("top", {"index_or_path": 0, "max_age_s": 0.2, "max_resets": 1})
    first = camera._capture
    assert until(lambda: camera._capture is not first)
    assert first.released
    assert until(lambda: camera.age_s < 0.2), "its pictures go on"
    monkeypatch.setattr(camera._capture, "left", 0)
    assert until(lambda: camera.age_s > 1.2)
    with pytest.raises(StationError, match=r"after 1 resets.*No reset is left; start the station again"):
        camera.render()
    assert Device.opened == 2, "no more often than allowed"
    camera.close()


def test_a_path_starts_at_the_folder_of_the_file(tmp_path: Path) -> None:
    name = film(tmp_path).name
    cameras = {"top": CameraConfig(driver="opencv", config={"index_or_path": name})}
    opened = open_cameras(CellConfig(station="r", driver="echo", cameras=cameras, folder=tmp_path))
    assert opened["top"].spec().width_px == 64
    opened["top"].close()


def test_what_is_absent_or_wrong_is_one_line_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(
        StationError, match=r"/no/such/camera.* cannot be opened.*lerobot-find-cameras opencv"
    ) as caught:
        open_camera("top", {"index_or_path": "/no/such/camera"})
    assert "\n" not in str(caught.value)
    with pytest.raises(StationError, match=r"gives 64 x 48 px, asked were 640 x 480"):
        open_camera("top", {"index_or_path": str(film(tmp_path)), "width_px": 640, "height_px": 480})
    with pytest.raises(UsageError, match=r"camera 'top': wdth: Extra inputs.*Its settings are: index_or_path"):
        open_camera("top", {"index_or_path": 0, "wdth": 3})
