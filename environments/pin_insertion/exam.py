"""The examination of the pin insertion verifier: ends of episodes whose truth is known, half of them successes.

Drawn in strata, so that the shares do not depend on luck. 31 % of each half are near the threshold: 13.5 to 15 mm and
15 to 16.5 mm, where chips in the hole hold the pin up. The other successes stand deeper, most at the bottom. The other
failures: shallow, in a wrong hole, still in the gripper (above, at the rim, in the hole), lying on plate or table,
out of sight, or deep enough but forced.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from environments.pin_insertion import spec
from environments.pin_insertion.opinion import BAND
from environments.pin_insertion.start import RANGES, START_KEYS
from nightlab import pin_box as box
from nightlab.contracts import Lease, SimulatorAdmin, Station

__all__ = ["BAND", "NEAR_SHARE", "prepare", "states"]

NEAR_SHARE = 0.1
"""A depth within this share of the threshold counts as near it."""
NEAR = 0.31
"""Share of each half that is near the threshold."""
BOTTOM = 0.6
"""Successes beyond this share of their half stand at the bottom of the hole."""
FAILURES = (
    "shallow", "wrong_hole", "above", "rim", "held", "on_plate", "on_table", "forced",
    "shallow", "wrong_hole", "above", "rim", "held", "on_plate", "on_table", "forced",
    "shallow", "wrong_hole", "above", "rim", "held", "shallow", "wrong_hole", "gone",
)  # fmt: skip
"""In turn, for failures that are not near the threshold."""
PEAK = "peak_force_N"
ASIDE_m = (0.13, -0.05, 0.10)
"""Tip of an imagined pin in the empty right gripper, relative to the hole's mouth: out of the cameras' sight."""


def states(n: int, seed: int = 0) -> list[dict[str, float]]:
    """`n` states, failures and successes in turn; `prepare` brings a station into one."""
    made = [(n + 1) // 2, n // 2]
    out = []
    for i in range(n):
        rng = np.random.default_rng([0xE7A4, seed, i])
        at = i // 2 / made[i % 2]
        out.append(_success(at, rng) if i % 2 else _failure(at, i // 2, rng))
    return out


def _success(at: float, rng: np.random.Generator) -> dict[str, float]:
    lowest, highest = spec.SUCCESS_DEPTH_m, spec.SUCCESS_DEPTH_m * (1 + NEAR_SHARE)
    if at < NEAR:
        bottom = lowest + (highest - lowest) * at / NEAR
    else:
        share = (at - NEAR) / (BOTTOM - NEAR)
        bottom = min(box.HOLE_DEPTH_m, highest + (box.HOLE_DEPTH_m - highest) * share)
    return _standing(bottom, rng) | {PEAK: float(rng.uniform(4, 38))}


def _failure(at: float, number: int, rng: np.random.Generator) -> dict[str, float]:
    lowest = spec.SUCCESS_DEPTH_m * (1 - NEAR_SHARE)
    force = {PEAK: float(rng.uniform(4, 38))}
    if at < NEAR:
        return _standing(lowest + (spec.SUCCESS_DEPTH_m - lowest) * at / NEAR, rng) | force
    kind = FAILURES[number % len(FAILURES)]
    if kind == "shallow":
        return _standing(float(rng.uniform(0.002, lowest)), rng) | force
    if kind == "forced":
        return _standing(float(rng.uniform(0.016, box.HOLE_DEPTH_m)), rng) | {PEAK: float(rng.uniform(40.5, 90))}
    if kind == "wrong_hole":
        state = _standing(float(rng.uniform(0.010, box.HOLE_DEPTH_m)), rng)
        return state | force | {"in_hole": float((int(state["hole"]) + int(rng.integers(1, spec.HOLES))) % spec.HOLES)}
    if kind in ("above", "rim", "held"):
        return _held(kind, rng) | force
    return _lying(kind, rng) | force


def _standing(bottom_m: float, rng: np.random.Generator) -> dict[str, float]:
    """A pin that is let go in the target hole, which is `bottom_m` deep; a little askew."""
    hole = float(rng.integers(spec.HOLES))
    lean = rng.normal(0.0, 0.006, 2)
    return {
        "hole": hole, "in_hole": hole, "bottom_m": bottom_m,
        "pin_rx_rad": float(lean[0]), "pin_ry_rad": float(lean[1]), "pin_rz_rad": float(rng.uniform(-math.pi, math.pi)),
    }  # fmt: skip


def _held(kind: str, rng: np.random.Generator) -> dict[str, float]:
    """A pin that the gripper still has: above the plate, its tip beside the mouth, or in the hole but not deep enough."""
    start = {"hole": float(rng.integers(spec.HOLES)), "yaw_rad": float(rng.uniform(*RANGES["yaw_rad"]))}
    if kind == "above":
        return start | {key: float(rng.uniform(*RANGES[key])) for key in ("tip_x_m", "tip_y_m", "tip_z_m")}
    x, y = rng.normal(0.0, 0.002, 2) if kind == "rim" else (0.0, 0.0)
    z = rng.uniform(0.0005, 0.003) if kind == "rim" else rng.uniform(-0.013, -0.002)
    return start | {"tip_x_m": float(x), "tip_y_m": float(y), "tip_z_m": float(z)}


def _lying(kind: str, rng: np.random.Generator) -> dict[str, float]:
    """A pin that was dropped: on the plate, on the table beside it, or far away."""
    along = rng.uniform(-math.pi, math.pi)
    spread = {"on_plate": 0.02, "on_table": 0.03, "gone": 0.02}[kind]
    x, y = rng.uniform(-spread, spread, 2)
    side = 1.0 if rng.uniform() < 0.5 else -1.0
    x += {"on_plate": 0.0, "on_table": side * 0.09, "gone": side * 0.35}[kind]
    tilt = math.pi / 2  # about a level axis
    return {
        "hole": float(rng.integers(spec.HOLES)), "bottom_m": box.HOLE_DEPTH_m, "lies_x_m": float(x),
        "lies_y_m": float(y), "lies_z_m": (box.PLATE_TOP_m if kind == "on_plate" else 0.0) + box.HEAD_m / 2 + 0.002,
        "pin_rx_rad": float(tilt * math.cos(along)), "pin_ry_rad": float(tilt * math.sin(along)), "pin_rz_rad": 0.0,
    }  # fmt: skip


async def prepare(
    station: Station, lease: Lease, admin: SimulatorAdmin, state: Mapping[str, float], episode_seed: int
) -> dict[str, float]:
    """Bring the station into a state; returns what the force log then says of the episode."""
    logged = {PEAK: state[PEAK]}
    held = {key: state[key] for key in START_KEYS if key in state}
    if set(held) == set(START_KEYS):
        await admin.teleport(held, episode_seed)
        return logged
    aside = dict(zip(("tip_x_m", "tip_y_m", "tip_z_m"), ASIDE_m, strict=True))
    start = {"hole": state["hole"], "yaw_rad": 0.0, **aside}
    truth = await admin.truth()
    loose = {key: state[key] for key in ("pin_rx_rad", "pin_ry_rad", "pin_rz_rad", "bottom_m")}
    if "in_hole" in state:
        mouth = [truth[f"mouth_{int(state['in_hole'])}_{axis}_m"] for axis in "xyz"]
        bottom_m = state["bottom_m"] if state["in_hole"] == state["hole"] else box.HOLE_DEPTH_m
        place = (mouth[0], mouth[1], mouth[2] - bottom_m + 0.0003)
    else:
        place = (box.PLATE_XY_m[0] + state["lies_x_m"], box.PLATE_XY_m[1] + state["lies_y_m"], state["lies_z_m"])
    await admin.teleport(
        {**start, **dict(zip(("pin_x_m", "pin_y_m", "pin_z_m"), place, strict=True)), **loose}, episode_seed
    )
    return logged
