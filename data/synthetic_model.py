"""A made-up Push-T: which modules succeed how often. For simulated campaigns only; its numbers follow the ladder.

Results are deterministic per (recipe, seed) and share a seed's difficulty, as on the nominal simulated station.
"""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import dataclass, field
from statistics import NormalDist

from nightlab.records import Outcome

MODULES: dict[str, tuple[str, ...]] = {
    "sense": ("raw", "average", "smooth"),
    "choose": ("through_centre", "flat_face", "longest_lever", "rotate_first", "twist", "rollout"),
    "route": ("straight", "around", "circle", "rim"),
    "drive": ("jump", "creep", "lead", "stop"),
    "endgame": ("none", "fine", "early", "tap"),
    "pause": ("none", "settle", "look", "long"),
    "recover": ("none", "random", "second", "harder"),
}
"""Slot → modules; the first of each is the template's."""

_CHOOSE = {
    "through_centre": ((0.0, 0.0, 0.0, 0.0), 0.47),
    "flat_face": ((0.0, 0.01, 0.02, 0.02), 0.15),
    "longest_lever": ((0.0, 0.0, 0.0, 0.0), 0.2),
    "rotate_first": ((0.0, 0.05, 0.5, 0.93), 0.1),
    "twist": ((0.0, 0.29, 0.6, 0.985), 0.75),
    "rollout": ((0.125, 0.46, 0.93, 0.997), 0.85),
}
"""With a route around the block: success (plain, fine endgame, precise drive, both) and mean score of failures."""
_PRECISE = ("lead", "stop")
"""Drives that land where they aim."""
_FACTORS = {
    "average": (0.85, 1.1), "smooth": (0.9, 1.05), "circle": (0.92, 1.3), "rim": (0.3, 1.4), "creep": (0.95, 1.5),
    "early": (0.6, 1.0), "tap": (0.8, 1.1), "settle": (1.0, 1.12), "look": (1.0, 1.1), "long": (0.7, 1.8),
    "harder": (0.85, 1.0),
}  # fmt: skip
"""Module → factor on success, factor on steps."""
_RESCUE = {"random": 0.5, "second": 0.8}
"""Module → share of the failures that remain."""
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Recipe:
    """Modules per slot and one numeric knob (log scale, 0 = the module's default)."""

    modules: dict[str, str] = field(default_factory=lambda: {slot: names[0] for slot, names in MODULES.items()})
    knob: float = 0.0

    def text(self) -> str:
        """A string unique per recipe."""
        return ",".join(self.modules.values()) + f",{self.knob:.2f}"

    def quality(self) -> tuple[float, float, float]:
        """(success probability, mean score of failures, mean steps of successes)."""
        chosen = self.modules
        table, score = _CHOOSE[chosen["choose"]]
        precise = chosen["drive"] in _PRECISE
        success, steps = table[(chosen["endgame"] == "fine") + 2 * precise], 108.0 if precise else 180.0
        if chosen["route"] == "straight":
            success, score = 0.0, 0.12 if chosen["choose"] == "through_centre" else 0.06
        for name in chosen.values():
            factor, slower = _FACTORS.get(name, (1.0, 1.0))
            success, steps, score = success * factor, steps * slower, score * (0.5 + 0.5 * factor)
        if success > 0.3:
            success = 1 - (1 - success) * _RESCUE.get(chosen["recover"], 1.0)
        success *= math.exp(-0.1 * (self.knob - 0.3) ** 2) / math.exp(-0.1 * 0.09)
        return min(1.0, success), score, steps * (1 - 0.1 * math.tanh(self.knob))

    def run(self, seed: int, gives_up_at: int = 300) -> tuple[Outcome, float, int, str]:
        """Outcome, score, steps and the verifier's word of one episode."""
        success, score, steps = self.quality()
        luck = random.Random(int.from_bytes(hashlib.sha256(f"{self.text()}:{seed}".encode()).digest()[:8]))
        hard = random.Random(seed).gauss(0, 1)
        level = _NORMAL.cdf(math.sqrt(0.5) * hard + math.sqrt(0.5) * luck.gauss(0, 1))
        if level < success:
            return Outcome.SUCCESS, luck.uniform(0.955, 0.968), int(min(299, steps * luck.lognormvariate(0, 0.25))), ""
        got = min(0.949, max(0.0, score + 0.08 * hard + luck.gauss(0, 0.06)))
        word = "near_miss" if got > 0.9 else "rotated" if got > 0.5 else "missed_goal" if got > 0.1 else "never_moved"
        return Outcome.FAILURE, got, int(luck.uniform(0.7, 1) * gives_up_at) if gives_up_at < 300 else 300, word


@dataclass
class RandomResearcher:
    """Swaps one module of the incumbent at random, or turns the knob; never proposes a recipe twice."""

    rng: random.Random
    insight: int = 1
    """Best of so many random proposals by true quality; 1 = knows nothing."""
    tried: set[str] = field(default_factory=set)

    def propose(self, parent: Recipe) -> tuple[Recipe, str, dict[str, str | float]]:
        """(new recipe, hypothesis, mutation)."""
        found = [self._one(parent) for _ in range(self.insight)]
        found = [one for one in found if "slot" in one[2]] or found
        best = max(found, key=lambda proposal: proposal[0].quality()[:2])
        self.tried.add(best[0].text())
        return best

    def _one(self, parent: Recipe) -> tuple[Recipe, str, dict[str, str | float]]:
        for _ in range(200):
            if self.rng.random() < 0.1:
                new = Recipe(parent.modules, round(parent.knob + self.rng.gauss(0, 0.3), 2))
                told = f"turn the lead distance to {new.knob:+.2f}"
                mutation: dict[str, str | float] = {"knob": "lead", "value": new.knob}
            else:
                slot = self.rng.choice(list(MODULES))
                name = self.rng.choice(MODULES[slot])
                new = Recipe({**parent.modules, slot: name}, parent.knob)
                told = f"{slot}: {name.replace('_', ' ')} instead"
                mutation = {"slot": slot, "module": name}
            if new.text() not in self.tried:
                return new, told, mutation
        return parent, "nothing new", {}
