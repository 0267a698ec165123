from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nightlab.contracts import Station
from nightlab.errors import StationError, UsageError
from nightlab.records import CellConfig, StationSpec
from nightlab.testing.camera import CameraContract
from nightlab.testing.station import StationContract
from robots.drivers import make_driver
from robots.drivers.realsense import RealSenseCamera, RealSenseOptions, open_camera
from robots.drivers.realsense_source import DeviceSource
from robots.drivers.with_cameras import WithCameras
from robots.served import served
from tests.robots import realsense_fake


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return realsense_fake.record(tmp_path_factory.mktemp("realsense") / "bench.db3")


class TestRecording(CameraContract):
    """A recording, played by the same pipeline as a camera, keeps the contract."""

    @pytest.fixture(autouse=True)
    def _recording(self, recording: Path) -> None:
        self.path = recording

    def open(self) -> AbstractContextManager[RealSenseCamera]:
        return self._open()

    @contextmanager
    def _open(self) -> Iterator[RealSenseCamera]:
        camera = open_camera("top", {"recording": str(self.path), "loop": True})
        try:
            yield camera
        finally:
            camera.close()

    def silence(self, camera: RealSenseCamera) -> bool:
        camera._source.stop()
        return True

    def test_the_pictures_are_those_recorded(self) -> None:
        with self._open() as camera:
            rgb, depth_m = camera.render(), camera.render_depth()
            assert depth_m is not None
            assert tuple(rgb[10, 10, 1:]) == (100, 50), "colour as recorded"
            assert 0.500 <= depth_m[24, 16] < 0.601, "metres"
            assert depth_m[24, 56] == 0, "nothing measured there"
            spec = camera.spec()
            assert spec.serial == realsense_fake.SERIAL
            assert spec.intrinsics is not None
            lens = spec.intrinsics
            assert (lens.fx_px, lens.cx_px, lens.cy_px) == (60.0, 31.5, 24.25)
            assert camera.age_s < 5


class TestSoftwareDevice(CameraContract):
    """A software device, opened sensor by sensor, keeps the contract, stale pictures included."""

    def open(self) -> AbstractContextManager[RealSenseCamera]:
        return self._open()

    @contextmanager
    def _open(self, max_resets: int = 0) -> Iterator[RealSenseCamera]:
        self.fake = realsense_fake.SoftwareRealSense()
        self.fake.run()
        camera = RealSenseCamera(
            "top",
            RealSenseOptions(max_resets=max_resets),
            DeviceSource(self.fake.device, self.fake.sensors, self.fake.reset),
        )
        try:
            yield camera
        finally:
            camera.close()
            self.fake.close()

    def silence(self, camera: RealSenseCamera) -> bool:
        self.fake.silent.set()
        return True

    def test_a_silent_device_is_reset_and_comes_back(self) -> None:
        with self._open(max_resets=1) as camera:
            before = camera.render().copy()
            self.fake.silent.set()
            for _ in range(1000):
                if camera.resets and not np.array_equal(self._try(camera, before), before):
                    break
                self.fake._closing.wait(0.02)
            assert self.fake.resets == camera.resets == 1, "one hardware reset"
            assert not np.array_equal(camera.render(), before), "and its pictures go on"

    @staticmethod
    def _try(camera: RealSenseCamera, before: Any) -> Any:
        try:
            return camera.render()
        except StationError:
            return before


class TestStationWithRealSense(StationContract):
    """A station keeps the contract with a RealSense beside its arm, from a recording or a software device."""

    @pytest.fixture(autouse=True, params=["recording", "software_device"])
    def _source(self, request: pytest.FixtureRequest, recording: Path) -> None:
        self.source, self.path = request.param, recording

    def open(self) -> AbstractAsyncContextManager[Station]:
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Station]:
        arm = {"station": "robot-1", "driver": "echo"}
        fake = None
        if self.source == "recording":
            top = {"driver": "realsense", "config": {"recording": str(self.path), "loop": True, "max_age_s": 10}}
            driver = make_driver(CellConfig.model_validate({**arm, "cameras": {"top": top}}))
        else:
            fake = realsense_fake.SoftwareRealSense()
            fake.run()
            camera = RealSenseCamera("top", RealSenseOptions(max_age_s=10), DeviceSource(fake.device, fake.sensors))
            driver = WithCameras(make_driver(CellConfig.model_validate(arm)), {"top": camera})
        try:
            async with served(driver) as client:
                yield client
        finally:
            if fake is not None:
                fake.close()

    def test_depth_and_lens_cross_the_wire(self) -> None:
        async def check(station: Station, spec: StationSpec) -> None:
            (camera,) = spec.cameras
            assert camera.depth
            assert camera.serial == realsense_fake.SERIAL
            assert camera.intrinsics is not None
            frame = await station.capture("top")
            assert frame.depth_m is not None
            assert 0.5 <= frame.depth_m[24, 16] < 0.601

        self._run(check)


def test_a_path_starts_at_the_folder_of_the_file(recording: Path) -> None:
    top = {"driver": "realsense", "config": {"recording": recording.name, "loop": True, "max_age_s": 10}}
    cell = CellConfig.model_validate({"station": "r", "driver": "echo", "cameras": {"top": top}})
    driver = make_driver(cell.model_copy(update={"folder": recording.parent}))
    assert driver.spec().cameras[0].serial == realsense_fake.SERIAL
    driver.close()  # type: ignore[attr-defined]


def test_an_absent_camera_is_one_line_with_the_fix(tmp_path: Path) -> None:
    for config, says in (
        ({}, "no RealSense is connected.*lerobot-find-cameras realsense"),
        ({"serial": "42"}, "no RealSense 42 is connected; connected: none"),
        (
            {"recording": str(tmp_path / "none.db3")},
            "no recording .*none.db3; record one: python -c .*enable_record_to_file",
        ),
    ):
        with pytest.raises(StationError, match=says) as caught:
            open_camera("top", config)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"seral: Extra inputs.*Its settings are: serial"):
        open_camera("top", {"seral": "1"})
