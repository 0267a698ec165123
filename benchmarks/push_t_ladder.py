"""Runs recipes of the Push-T library in process, by the station's rules, without station, sandbox or verifier.

Rules: 10 Hz, 300 steps, target limited to 80 px per step and to the table; the environment's own live check ends an
episode; then the pusher stops and holds for 5 periods. True success: true coverage ≥ 0.95 in each of these 5 frames;
score: the smallest of them.

    python -m benchmarks.push_t_ladder --seeds 20000:20200 --profile nominal --set route=route_around …
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.ladder import ladder
from environments.push_t.live import LiveCheck
from nightlab import geometry as g
from policies.library.pipeline import MAX_STEP_PX, SLOTS, Pipeline
from robots.profiles import PushTProfile, load_profile
from robots.worlds.push_t import START_KEYS, PushTWorld

MAX_STEPS: Final = 300
HELD: Final = 5
TRUE_COVERAGE: Final = 0.95
BASELINE: Final = {
    "sense": "sense_raw", "choose": "choose_through_centre", "route": "route_around", "drive": "drive_creep",
    "endgame": "endgame_early", "pause": "pause_long", "recover": "recover_none",
}  # fmt: skip


@dataclass(frozen=True)
class Episode:
    """What one episode came to."""

    seed: int
    success: bool
    score: float
    steps: int
    end: str
    best: float
    plan_ms: float
    worst_ms: float
    live_ok: bool = False
    """The live check ended it."""


def start(seed: int) -> dict[str, float]:
    """A start that breaks no rule, drawn from the seed."""
    rng = np.random.default_rng([0x5EED, seed])
    while True:
        agent, block = rng.uniform(50, 450, 2), rng.uniform(100, 400, 2)
        pose = (float(block[0]), float(block[1]), float(rng.uniform(-math.pi, math.pi)))
        xy = (float(agent[0]), float(agent[1]))
        if not g.t_touches_wall(pose, 2.0) and not g.agent_overlaps_t(xy, pose, 2.0):
            return dict(zip(START_KEYS, (*xy, *pose), strict=True))


def make_policy(modules: Mapping[str, str], params: Mapping[str, float]) -> Pipeline:
    """The pipeline of a recipe by module names."""
    return Pipeline(
        {slot: importlib.import_module(f"policies.library.push_t.{modules[slot]}") for slot in SLOTS}, params
    )


def run_episode(world: PushTWorld, policy: Pipeline, seed: int) -> Episode:
    """One episode; deterministic in world, recipe and seed."""
    begin = start(seed)
    world.teleport(begin, seed)
    policy.reset(None, seed)  # type: ignore[arg-type]
    target = np.array([begin["agent_x_px"], begin["agent_y_px"]])
    live = LiveCheck()
    best, spent, worst, end, steps = 0.0, 0.0, 0.0, "max_steps", 0
    for _ in range(MAX_STEPS):
        observation = world.observe()
        before = time.perf_counter()
        actions = policy.act(observation)
        took = time.perf_counter() - before
        spent, worst = spent + took, max(worst, took)
        if actions is None:
            end = "done"
            break
        wish = np.clip(actions[0]["target_xy"], 0.0, g.TABLE_PX)
        target = target + np.clip(wish - target, -MAX_STEP_PX, MAX_STEP_PX)
        world.step({"target_xy": target})
        steps += 1
        pose = world.observe()["block_pose"]
        live.add(tuple(pose))
        best = max(best, live.believed)
        if live.held:
            end = "held"
            break
    held = []
    target = target + np.clip(world.observe()["agent_xy"] - target, -MAX_STEP_PX, MAX_STEP_PX)
    for _ in range(HELD):
        world.step({"target_xy": target})
        held.append(world.truth()["coverage"])
    score = min(held)
    return Episode(seed, score >= TRUE_COVERAGE, score, steps, end, best, 1e3 * spent / max(steps, 1), 1e3 * worst,
                   end == "held")  # fmt: skip


def make_table(profile: str, station_seed: int) -> PushTWorld:
    """The simulated table of a station."""
    chosen = load_profile(profile)
    assert isinstance(chosen, PushTProfile)
    return PushTWorld(chosen, station_seed)


def run_many(
    modules: Mapping[str, str],
    params: Mapping[str, float],
    seeds: Sequence[int],
    profile: str = "nominal",
    station_seeds: Sequence[int] = (7,),
) -> list[Episode]:
    """Episodes over seeds, dealt in turn to the stations."""
    worlds = [make_table(profile, station) for station in station_seeds]
    policy = make_policy(modules, params)
    return [run_episode(worlds[i % len(worlds)], policy, seed) for i, seed in enumerate(seeds)]


def summary(episodes: Sequence[Episode]) -> dict[str, float]:
    """Rates and times of a list of episodes."""
    n = len(episodes)
    steps = [episode.steps for episode in episodes if episode.success] or [MAX_STEPS]
    return {
        "n": n,
        "success": sum(episode.success for episode in episodes) / n,
        "score": sum(episode.score for episode in episodes) / n,
        "best": sum(episode.best for episode in episodes) / n,
        "steps": sum(episode.steps for episode in episodes) / n,
        "steps_median": float(np.median(steps)),
        "steps_p95": float(np.percentile(steps, 95)),
        "plan_ms": sum(episode.plan_ms for episode in episodes) / n,
        "worst_ms": max(episode.worst_ms for episode in episodes),
        "false_hold": sum(episode.live_ok and not episode.success for episode in episodes) / n,
    }


if __name__ == "__main__":
    ladder(__doc__ or "", "20000:20100", SLOTS, BASELINE, run_many, summary)
