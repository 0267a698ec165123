"""Runs recipes of the pin-insertion library in process, by the station's rules, without station, sandbox or verifier.

Rules: 20 Hz, 400 steps; the station clamps every step of a target; left arm and grippers stay parked. The live check
ends an episode when the tip is 16.5 mm deep in the target hole in 5 periods in a row, by the pin sensor, or when 40 N
were reached; then the last target is held for 5 periods. Success: true depth of the tip in the target hole ≥ 15 mm, peak
force at the wrists < 40 N.

    python -m benchmarks.pin_insertion_ladder --seeds 20000:20040 --set search=search_spiral light_N=4 …
"""

from __future__ import annotations

import importlib
import math
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.ladder import ladder
from environments.pin_insertion.spec import (
    HOLES,
    LIVE_PERIODS,
    MAX_FORCE_N,
    MAX_STEPS,
    FAR_m,
    IN_HOLE_m,
    INSIDE_m,
    LIVE_DEPTH_m,
    NEAR_MISS_m,
    RIM_m,
    SUCCESS_DEPTH_m,
    UPRIGHT_rad,
)
from environments.pin_insertion.start import sample_start
from nightlab.contracts import World
from policies.library.pin_insertion.pipeline import SLOTS, Pipeline
from robots.profiles import load_profile
from robots.worlds import make_world

HELD: Final = 5
STILL_m: Final = 0.0002
"""Target and hand that stay within this much, sensor noise included, stand still."""
BASELINE: Final = {
    "sense": "sense_nominal", "approach": "approach_direct", "correct": "correct_none", "search": "search_none",
    "press": "press_firm", "comply": "comply_soft", "insert": "insert_ram", "guard": "guard_none",
    "recover": "recover_none",
}  # fmt: skip


@dataclass(frozen=True)
class Episode:
    """What one episode came to."""

    seed: int
    success: bool
    score: float
    steps: int
    end: str
    word: str
    """What failed, in a word; empty after success."""
    depth_m: float
    aside_m: float
    """Distance of the tip from the axis of the target hole at the end."""
    peak_N: float
    phase: str
    act_ms: float


def make_policy(modules: Mapping[str, str], params: Mapping[str, float]) -> Pipeline:
    """The pipeline of a recipe by module names."""
    found = {slot: importlib.import_module(f"policies.library.pin_insertion.{modules[slot]}") for slot in SLOTS}
    return Pipeline(found, params)


class Bench:
    """A simulated bench with the station's clamping of steps; one per station seed."""

    def __init__(self, profile: str, station_seed: int) -> None:
        self.world: World = make_world("yam_bench", load_profile(profile, "yam_bench"), station_seed)
        self.spec = self.world.spec("ladder", 0.0)

    def run(self, policy: Pipeline, seed: int, patience: int = 0) -> Episode:
        """One episode; deterministic in station seed, recipe and seed.

        With `patience`, one in which neither target nor hand has moved for so many control periods is not played to its
        end: it counts as if it had been, with all its steps. No timer of the library is longer than 100 periods.
        """
        world, hole = self.world, int(sample_start(seed)["hole"])
        world.teleport(sample_start(seed), seed)
        policy.reset(self.spec, seed)
        target = world.hold_action()
        tips: deque[float] = deque(maxlen=LIVE_PERIODS)
        still: list[Any] = []
        spent, end, steps, peak_N = 0.0, "max_steps", 0, 0.0
        seen = world.observe()
        for _ in range(MAX_STEPS):
            begin = time.perf_counter()
            actions = policy.act(seen)
            spent += time.perf_counter() - begin
            if actions is None:
                end = "done"
                break
            target = self._clamped(target, actions[0])
            world.step(target)
            steps += 1
            seen = world.observe()
            peak_N = max(peak_N, float(seen["peak_force"].max()))
            off = seen["pin_estimate"][:3] - seen["hole_estimate"]
            tips.append(float(-off[2]) if math.hypot(off[0], off[1]) < IN_HOLE_m else 0.0)
            if len(tips) == LIVE_PERIODS and min(tips) >= LIVE_DEPTH_m:
                end = "held"
                break
            if peak_N >= MAX_FORCE_N:
                end = "force"
                break
            if patience and _stands_still(still, target, seen, patience):
                steps = MAX_STEPS
                break
        for _ in range(HELD):
            world.step(target)
            peak_N = max(peak_N, float(world.observe()["peak_force"].max()))
        truth = world.truth()
        depth_m = truth[f"depth_{hole}_m"]
        aside_m = math.hypot(truth["tip_x_m"], truth["tip_y_m"])
        success = depth_m >= SUCCESS_DEPTH_m and peak_N < MAX_FORCE_N
        score = 1.0 if success else grade(depth_m, aside_m, truth["tip_z_m"], peak_N)
        return Episode(
            seed, success, score, steps, end, "" if success else word(truth, hole, peak_N), depth_m, aside_m, peak_N,
            policy.memory.phase, 1e3 * spent / max(steps, 1),
        )  # fmt: skip

    def _clamped(self, last: Mapping[str, Any], action: Mapping[str, Any]) -> dict[str, Any]:
        """The action as the safety filter lets it pass: inside the bounds, no step too large."""
        out = {}
        for channel in self.spec.actions:
            wish = np.clip(action[channel.key], channel.low, channel.high)
            reach = self.spec.limits.max_step.get(channel.key)
            out[channel.key] = wish if reach is None else last[channel.key] + np.clip(
                wish - last[channel.key], -np.array(reach), np.array(reach)
            )  # fmt: skip
        return out


def _stands_still(still: list[Any], target: Mapping[str, Any], seen: Mapping[str, Any], patience: int) -> bool:
    """Whether target and hand have stayed where `still` ([first place, periods]) began, for `patience` periods."""
    here = np.concatenate([target["right_pose"][:3], seen["right_tcp"][:3], target["right_stiffness"] / 1e6])
    if not still or float(np.abs(here - still[0]).max()) > STILL_m:
        still[:] = [here, 0]
    still[1] += 1
    return bool(still[1] >= patience)


def grade(depth_m: float, aside_m: float, height_m: float, peak_N: float) -> float:
    """Score of a failure in [0, 1), as the verifier gives it: a fifth for the way, the rest for the depth."""
    if depth_m > 0:
        score = 0.2 + 0.79 * min(1.0, depth_m / SUCCESS_DEPTH_m)
    else:
        score = 0.2 * max(0.0, 1.0 - math.hypot(aside_m, max(0.0, height_m)) / FAR_m)
    return score / 2 if peak_N >= MAX_FORCE_N else score


def word(truth: Mapping[str, float], hole: int, peak_N: float) -> str:
    """What failed, in a word of the verifier."""
    depth_m, aside_m = truth[f"depth_{hole}_m"], math.hypot(truth["tip_x_m"], truth["tip_y_m"])
    if peak_N >= MAX_FORCE_N:
        return "forced" if depth_m >= SUCCESS_DEPTH_m else "crashed"
    if truth["held"] < 0.5 or math.hypot(truth["pin_rx_rad"], truth["pin_ry_rad"]) > UPRIGHT_rad:
        return "dropped"
    if any(truth[f"depth_{other}_m"] > INSIDE_m for other in range(HOLES) if other != hole):
        return "wrong_hole"
    if depth_m > INSIDE_m:
        return "near_miss" if depth_m >= NEAR_MISS_m else "shallow"
    return "at_the_rim" if aside_m < RIM_m and truth["tip_z_m"] < RIM_m else "beside_hole"


def run_many(
    modules: Mapping[str, str],
    params: Mapping[str, float],
    seeds: Sequence[int],
    profile: str = "nominal",
    station_seeds: Sequence[int] = (7, 8),
) -> list[Episode]:
    """Episodes over seeds, dealt in turn to the stations."""
    benches = [Bench(profile, station) for station in station_seeds]
    policy = make_policy(modules, params)
    return [benches[i % len(benches)].run(policy, seed) for i, seed in enumerate(seeds)]


def summary(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Rates, times, forces and failures of a list of episodes."""
    n = len(episodes)
    good = [episode.steps for episode in episodes if episode.success] or [MAX_STEPS]
    peaks = [episode.peak_N for episode in episodes]
    return {
        "n": n,
        "successes": sum(episode.success for episode in episodes),
        "success": sum(episode.success for episode in episodes) / n,
        "score": sum(episode.score for episode in episodes) / n,
        "seconds_median": float(np.median(good)) / 20,
        "seconds_p95": float(np.percentile(good, 95)) / 20,
        "peak_median_N": float(np.median(peaks)),
        "peak_p95_N": float(np.percentile(peaks, 95)),
        "peak_max_N": max(peaks),
        "aside_median_mm": 1e3 * float(np.median([episode.aside_m for episode in episodes])),
        "act_ms": sum(episode.act_ms for episode in episodes) / n,
        "failures": dict(Counter(episode.word for episode in episodes if episode.word)),
    }


if __name__ == "__main__":
    ladder(__doc__ or "", "20000:20040", SLOTS, BASELINE, run_many, summary)
