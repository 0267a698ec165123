"""Drivers whose packages or hardware are not here: one line, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nightlab.errors import StationError
from nightlab.records import CellConfig
from robots.drivers import make_driver

CALIBRATION = (
    "{"
    + ", ".join(
        f'"{name}": {{"id": 1, "drive_mode": 0, "homing_offset": 0, "range_min": 900, "range_max": 3100}}'
        for name in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
    )
    + "}"
)

LAZY = """
import sys
from importlib import import_module
from robots.drivers import CAMERAS, DRIVERS
for place in (*DRIVERS.values(), *CAMERAS.values()):
    module, _, function = place.partition(":")
    assert callable(getattr(import_module(module), function)), place
print(sorted({"torch", "lerobot", "pyrealsense2", "cv2", "mujoco"} & set(sys.modules)))
"""


def test_naming_a_driver_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", "torch, lerobot and cameras are imported when a robot is opened, not before"


def test_an_so101_without_feetechs_sdk_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lerobot.utils import import_utils

    monkeypatch.setitem(import_utils._require_package_cache, "scservo_sdk", False)
    (tmp_path / "so101.json").write_text(CALIBRATION)
    (tmp_path / "port").touch()
    config = {"port": str(tmp_path / "port"), "calibration": "so101.json"}
    with pytest.raises(
        StationError, match=r"'feetech-servo-sdk' is required.*pip install 'lerobot\[feetech\]'"
    ) as caught:
        make_driver(CellConfig(station="r", driver="so101", config=config, folder=tmp_path))
    assert "\n" not in str(caught.value)
