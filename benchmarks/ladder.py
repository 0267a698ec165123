"""The command line that the ladders of the environments share: a recipe over seeds and stations, its figures as JSON."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any


def parse_range(text: str) -> list[int]:
    """`A:B` → A … B−1."""
    low, high = text.split(":")
    return list(range(int(low), int(high)))


def ladder(
    title: str, seeds: str, slots: Collection[str], baseline: Mapping[str, str],
    run_many: Callable[[Mapping[str, str], Mapping[str, float], Sequence[int], str, Sequence[int]], Sequence[Any]],
    summary: Callable[[Any], Mapping[str, Any]],
) -> None:  # fmt: skip
    """Read the command line, run the episodes and print what they came to.

    Args:
        title: The docstring of its module; the first line is shown.
        seeds: Default range, `A:B`.
        slots: Names that `--set` takes a module for; every other name is a knob.
        baseline: The module of each slot that is not set.
        run_many: (modules, params, seeds, profile, station seeds) → episodes, dataclasses with `success`.
        summary: Episodes → figures.
    """
    parser = argparse.ArgumentParser(description=title.partition("\n")[0])
    parser.add_argument("--seeds", default=seeds)
    parser.add_argument("--profile", default="nominal")
    parser.add_argument("--stations", default="7:9")
    parser.add_argument("--set", nargs="*", default=[], help="slot=module or knob=value")
    parser.add_argument("--failures", action="store_true", help="a line for each failed episode")
    asked = parser.parse_args()
    pairs = dict(item.split("=") for item in asked.set)
    modules = {**baseline, **{key: value for key, value in pairs.items() if key in slots}}
    params = {key: float(value) for key, value in pairs.items() if key not in slots}
    begin_s = time.perf_counter()
    episodes = run_many(modules, params, parse_range(asked.seeds), asked.profile, parse_range(asked.stations))
    line = {key: round(value, 3) if isinstance(value, float) else value for key, value in summary(episodes).items()}
    print(json.dumps({**line, "wall_s": round(time.perf_counter() - begin_s, 1)}))
    if asked.failures:
        for episode in episodes:
            if not episode.success:
                print(json.dumps(asdict(episode)))
