"""Is the scene ready for an episode? A small learned classifier of both cameras' pictures.

Trained in simulation by benchmarks/pin_insertion_scene_ready.py on ready scenes (pin in the right gripper, upright, its
tip above the plate) and unready ones (pin in a hole, lying, gone, askew, too low; an arm in the way). How well it does
is in the environment's README. A picture alone: it asks no sensor, so it also sees what the sensors do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from environments.onnx_model import OnnxModel
from environments.pin_insertion.spec import CAMERAS
from nightlab.contracts import Frame
from nightlab.errors import UsageError

THRESHOLD = 0.95
"""Probability from which a scene counts as ready."""
MODEL = Path(__file__).with_name("scene_ready.onnx")
WIDTH_px, HEIGHT_px = 128, 96


@cache
def _model() -> OnnxModel:
    return OnnxModel(MODEL)


def probability(frames: Sequence[Frame]) -> float:
    """Probability that the scene is ready, from the latest frame of each camera; about 4 ms of CPU.

    Raises:
        UsageError: a camera's frame is missing.
    """
    latest: Mapping[str, Frame] = {frame.camera: frame for frame in frames}
    missing = [camera for camera in CAMERAS if camera not in latest]
    if missing:
        raise UsageError(f"scene-ready needs a frame of each of {', '.join(CAMERAS)}; missing: {', '.join(missing)}")
    logit = _model()(picture({camera: latest[camera].rgb for camera in CAMERAS})[None])
    return float(1.0 / (1.0 + np.exp(-float(logit.ravel()[0]))))


def picture(rgb: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.float32]:
    """What the model sees: both pictures shrunk and stacked, float32 [6, 96, 128] in [-1, 1]."""
    small = [cv2.resize(rgb[camera], (WIDTH_px, HEIGHT_px), interpolation=cv2.INTER_AREA) for camera in CAMERAS]
    stacked = np.concatenate(small, axis=2).astype(np.float32) / 127.5 - 1.0
    return np.ascontiguousarray(stacked.transpose(2, 0, 1), dtype=np.float32)
