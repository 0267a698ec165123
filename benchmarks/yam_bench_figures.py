"""What the simulated bench costs and how steady it is: `python -m benchmarks.yam_bench_figures --n 200 --profile real --json`.

Times are CPU time of this process (others may use the machine). One episode = a random start and 100 control periods of
random pushing: targets that wander down into the plate with random stiffness, rougher than a policy may be; a quarter
of the episodes only hold the pin, which measures what the grip loses.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
from numpy.typing import NDArray

from nightlab.errors import StationError
from robots.profiles import YamBenchProfile, load_profile
from robots.worlds.yam_bench import SUBSTEPS, YamBenchWorld
from robots.worlds.yam_bench_spec import POSE_HIGH, POSE_LOW, STIFFNESS_HIGH, STIFFNESS_LOW

PERIODS = 100
STATIONS = 5


def measure(profile: YamBenchProfile, episodes: int, seed: int) -> dict[str, float]:
    """The figures, unit in the name."""
    rng = np.random.default_rng(seed)
    peaks: list[float] = []
    slips: list[float] = []
    costs: dict[bool, list[float]] = {True: [], False: []}
    faults = 0
    for station in range(STATIONS):
        world = YamBenchWorld(profile, 100 + station)
        for episode in range(station, episodes, STATIONS):
            calm = episode % 4 == 0
            world.teleport(_start(rng), episode)
            began = time.process_time()
            try:
                if calm:
                    slips.append(_hold(world))
                else:
                    _push(world, rng)
            except StationError:
                faults += 1
                world = YamBenchWorld(profile, 100 + station)
                continue
            costs[calm].append((time.process_time() - began) / PERIODS)
            if not calm:
                peaks.append(world.truth()["peak_force_N"])
    hold_s, push_s = float(np.mean(costs[True])), float(np.mean(costs[False]))
    return {
        "episodes": episodes,
        "faults": faults,
        "hold_cpu_ms_per_period": round(1e3 * hold_s, 3),
        "push_cpu_ms_per_period": round(1e3 * push_s, 3),
        "physics_steps_per_cpu_s_hold": round(SUBSTEPS / hold_s),
        "physics_steps_per_cpu_s_push": round(SUBSTEPS / push_s),
        "slip_in_5_s_mm_median": round(1e3 * float(np.median(slips)), 4),
        "slip_in_5_s_mm_max": round(1e3 * max(slips), 4),
        "push_peak_N_median": round(float(np.median(peaks)), 1),
        "push_peak_N_max": round(max(peaks), 1),
        **_pictures(YamBenchWorld(profile, 100)),
    }


def _start(rng: np.random.Generator) -> dict[str, float]:
    x, y, yaw = rng.uniform(-1, 1, 3) * (0.03, 0.03, 0.3)
    return {
        "hole": float(rng.integers(4)),
        "tip_x_m": float(x),
        "tip_y_m": float(y),
        "tip_z_m": float(rng.uniform(0.03, 0.06)),
        "yaw_rad": float(yaw),
    }


def _hold(world: YamBenchWorld) -> float:
    """How far the pin slid in the gripper from the first to the last half second, m; the encoders' noise averaged."""
    action, places = world.hold_action(), []
    for _ in range(PERIODS):
        world.step(action)
        places.append(world.truth()["pin_z_m"] - world.observe()["right_tcp"][2])
    return abs(float(np.mean(places[-10:]) - np.mean(places[:10])))


def _push(world: YamBenchWorld, rng: np.random.Generator) -> None:
    action = world.hold_action()
    target: NDArray[np.float64] = action["right_pose"].copy()
    drift: NDArray[np.float64] = np.zeros(6)
    for period in range(PERIODS):
        if period % 10 == 0:
            drift = rng.normal(size=6) * (0.003, 0.003, 0.003, 0.03, 0.03, 0.03) - (0, 0, 0.0015, 0, 0, 0)
            action["right_stiffness"] = rng.uniform(STIFFNESS_LOW, STIFFNESS_HIGH)
        target = np.clip(target + drift, POSE_LOW, POSE_HIGH)
        world.step({**action, "right_pose": target})
        for key, value in world.observe().items():
            if not np.isfinite(value).all():
                raise StationError(f"{key} is not finite")


def _pictures(world: YamBenchWorld, n: int = 20) -> dict[str, float]:
    action, spent, film = world.hold_action(), 0.0, 0.0
    world.render("side")
    world.render("side", 256)
    for number in range(n):
        world.step(action)
        began = time.process_time()
        world.render(("top", "side", "wrist")[number % 3])
        spent += time.process_time() - began
        began = time.process_time()
        world.render("side", 256)
        film += time.process_time() - began
    return {"rgbd_640x480_cpu_ms": round(1e3 * spent / n, 1), "film_256_cpu_ms": round(1e3 * film / n, 1)}


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 if the physics ever diverged."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.yam_bench_figures", description=__doc__)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--profile", default="nominal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    profile = load_profile(arguments.profile, "yam_bench")
    assert isinstance(profile, YamBenchProfile)
    figures = measure(profile, arguments.n, arguments.seed)
    if arguments.json:
        print(json.dumps({"profile": profile.name, **figures}))
    else:
        print("\n".join(f"{name:32} {value:g}" for name, value in figures.items()))
    return 1 if figures["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
