"""Episodes of pin insertion that were played before: many measurements for the price of the recipes they meet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks.pin_insertion_ladder import Bench, Episode, make_policy

BENCHES: Final = 4
"""Benches that the pool's seeds are dealt to."""
POOL_BENCH: Final = 500
"""Station seed of the first of them."""
POOL_SEED: Final = 40_000
"""First of the pool's seeds: no lab draws them."""

PATIENCE: Final = 110
"""Control periods without motion after which an episode is not played to its end (see `Bench.run`)."""

Recipe = tuple[Mapping[str, str], Mapping[str, float]]
"""Module per slot, and the knobs that are set."""


class Memory:
    """Plays episodes, each recipe, bench and seed once; remembers them in a file of JSON lines if there is one.

    With `pool` all seeds are folded onto so many, dealt to four benches, whatever station was asked for.
    """

    def __init__(self, pool: int = 0, path: Path | None = None) -> None:
        self.pool, self.path = pool, path
        self.benches: dict[tuple[str, int], Bench] = {}
        self.known: dict[str, Episode] = {}
        if path is not None and path.is_file():
            for row in path.read_text().splitlines():
                told = json.loads(row)
                key = told.pop("key")
                self.known[key] = Episode(**told)

    def play(self, recipe: Recipe, profile: str, station_seed: int, seed: int) -> Episode:
        """The episode, from memory or by physics."""
        if self.pool:
            seed %= self.pool
            station_seed, seed = POOL_BENCH + seed % BENCHES, POOL_SEED + seed
        modules, params = recipe
        knobs = {knob: float(value) for knob, value in params.items()}
        key = json.dumps([dict(modules), knobs, profile, station_seed, seed], sort_keys=True)
        if key not in self.known:
            place = (profile, station_seed)
            if place not in self.benches:
                self.benches[place] = Bench(profile, station_seed)
            self.known[key] = self.benches[place].run(make_policy(modules, params), seed, PATIENCE)
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps({"key": key, **asdict(self.known[key])}) + "\n")
        return self.known[key]
