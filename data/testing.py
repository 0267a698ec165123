"""Scripted episodes and real keeper and recorder processes, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.episodes import EpisodeArrays, EpisodeBuffer, encode_png
from data.lab import EDITABLE, Lab
from nightlab.contracts import Frame, Observation
from nightlab.processes import spawn
from nightlab.records import (
    Clock,
    EpisodeEnd,
    EpisodeKey,
    EpisodeRecord,
    Outcome,
    ResetReport,
    SeedPool,
    StepFlags,
    Verdict,
)

PROJECT = Path(__file__).resolve().parents[1]
EPOCH_S = 1_800_000_000.0


def scripted_record(
    seed: int,
    *,
    campaign: str = "C1",
    iteration: str = "I1",
    idea: str = "I1",
    station: str = "robot-1",
    pool: SeedPool = SeedPool.SEARCH,
    outcome: Outcome = Outcome.SUCCESS,
    steps: int = 40,
    attempt: int = 0,
    score: float | None = None,
    reason: str = "",
) -> EpisodeRecord:
    """The record of an episode that began `seed` seconds after EPOCH_S."""
    begin = EPOCH_S + seed % 100_000
    clocks = [Clock(wall_s=begin + s / 10, station_s=begin + s) for s in (0.0, 0.5, 0.5 + steps / 10)]
    good = outcome is Outcome.SUCCESS
    return EpisodeRecord(
        key=EpisodeKey(
            campaign=campaign, iteration=iteration, idea=idea, station=station, pool=pool, seed=seed, attempt=attempt
        ),
        environment="push_t",
        profile="nominal",
        station_seed=1,
        speed=10.0,
        verdict=Verdict(
            outcome=outcome, score=(0.97 if good else 0.4) if score is None else score,
            reason=reason or ("held" if good else "missed_goal"),
        ),
        end=EpisodeEnd.HELD if good else EpisodeEnd.MAX_STEPS,
        steps=steps,
        reset=ResetReport(success=True, attempts=1, duration_s=0.1, asked={}, achieved={}, distance=0.0),
        reset_begin=clocks[0],
        rollout_begin=clocks[1],
        rollout_end=clocks[2],
        control_wall_s=steps / 100,
        policy_sha256="p" * 8,
        manifest_sha256="m" * 8,
        filmed=True,
    )  # fmt: skip


def picture(step: int, size_px: int = 512) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A white table with a green square and a red block that wanders with `step`."""
    image = np.full((size_px, size_px, 3), 255, np.uint8)
    image[size_px // 2 : size_px // 2 + 60, 100:160] = (144, 238, 144)
    at = (3 * step) % (size_px - 60)
    image[at : at + 40, at : at + 50] = (200, 40, 30)
    return image


def scripted_arrays(steps: int = 40, *, film: bool = True, frames: int = 5) -> EpisodeArrays:
    """An episode of `steps` straight steps, filmed every second one, with judged frames."""
    buffer = EpisodeBuffer()
    seen = [_observation(step, steps, film) for step in range(steps + 1)]
    for step in range(steps):
        buffer.add(seen[step], {"target_xy": np.array([2.0 * step, 5.0])}, seen[step + 1])
    last = seen[-1]
    judged = [Frame("top", last.clock, last.seq + n, picture(steps)) for n in range(frames)]
    return buffer.arrays().with_frames(judged, [last.values] * frames)


def _observation(step: int, steps: int, film: bool) -> Observation:
    import cv2

    jpeg = None
    if film and step % 2 == 1:
        jpeg = cv2.imencode(".jpg", picture(step, 256)[:, :, ::-1])[1].tobytes()
    return Observation(
        seq=step,
        clock=Clock(wall_s=EPOCH_S + step / 100, station_s=EPOCH_S + step / 10),
        values={"agent_xy": np.array([float(step), 3.0]), "block_pose": np.array([200.0 + step, 250.0, step / steps])},
        executed={"target_xy": np.array([2.0 * step - 1.0, 5.0])} if step else {},
        flags=StepFlags(late=step == 3, clamped=step == 5),
        image_jpeg=jpeg,
    )


def scripted_lab(path: Path) -> Lab:
    """A lab with a template of four small files."""
    template = path.with_name(f"{path.name}-template")
    template.mkdir(parents=True, exist_ok=True)
    for name in EDITABLE:
        (template / name).write_text("speed: 1.0\n" if name == "params.yaml" else f"# {name}\n")
    return Lab.create(path, template=template)


@contextlib.contextmanager
def running(module: str, lab: Path, *arguments: str, ready_s: float = 20.0) -> Iterator[subprocess.Popen[bytes]]:
    """A real process `python -m module --lab LAB` that is ready; killed at the end if it still runs."""
    ready = lab / "run" / f"{module}.ready"
    ready.unlink(missing_ok=True)
    with open(lab / "run" / f"{module}.log", "ab") as log:
        process = spawn(
            [sys.executable, "-m", module, "--lab", str(lab), "--ready-file", str(ready), *arguments],
            cwd=PROJECT, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        deadline_s = time.monotonic() + ready_s
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline_s:
                said = (lab / "run" / f"{module}.log").read_text()[-2000:]
                raise RuntimeError(f"{module} did not become ready: {said}")
            time.sleep(0.01)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ready_file(module: str, lab: Path) -> dict[str, Any]:
    """What a process wrote when it was ready."""
    found: dict[str, Any] = json.loads((lab / "run" / f"{module}.ready").read_text())
    return found


__all__ = ["encode_png", "picture", "ready_file", "running", "scripted_arrays", "scripted_lab", "scripted_record"]
