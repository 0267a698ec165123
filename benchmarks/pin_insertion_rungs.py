"""The ladder of pin insertion, rung by rung: one change after the other, from the template to the reference policy.

In process, by the rules of `benchmarks.pin_insertion_ladder`, on the same seeds for every rung; no module was tuned on
them. Also, from the top rung, what each change is worth there (`--without`): one change taken back at a time.

    python -m benchmarks.pin_insertion_rungs --n 100 --markdown
    python -m benchmarks.pin_insertion_rungs --n 40 --without --markdown
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.pin_insertion_ladder import BASELINE, summary
from benchmarks.pin_insertion_memory import Memory, Recipe
from data.statistics import wilson
from policies.library.pin_insertion.pipeline import SLOTS

RUNGS: Final[tuple[tuple[str, Mapping[str, str | float]], ...]] = (
    ("template", {}),
    ("stiff in the air, softer in contact", {"comply": "comply_phase"}),
    ("rest above the hole, then straight down", {"approach": "approach_above"}),
    ("slide along a spiral", {"search": "search_spiral"}),
    ("press lightly", {"press": "press_light"}),
    ("take out what the encoders say is missing, also sideways while sliding", {"correct": "correct_lateral"}),
    ("stiffer while searching", {"search_N_per_m": 2000}),
    ("control the force, 2 N", {"press": "press_servo", "servo_N": 2}),
    ("look at the pin", {"sense": "sense_latest"}),
    ("give way to the walls of the hole, and to large forces", {"insert": "insert_follow", "guard": "guard_yield"}),
    ("lift and search again", {"recover": "recover_again"}),
)
"""What each rung changes, in words and in slots and knobs."""
BLOCK: Final = 20
"""Seeds per pass: all rungs run a block before any runs the next, so that they have the same n whenever it is stopped."""


def recipe_of(changes: Sequence[Mapping[str, str | float]]) -> Recipe:
    """The template with all these changes."""
    merged: dict[str, str | float] = {}
    for change in changes:
        merged |= change
    modules = {**BASELINE, **{key: str(value) for key, value in merged.items() if key in SLOTS}}
    return modules, {key: float(value) for key, value in merged.items() if key not in SLOTS}


def rungs() -> list[tuple[str, Recipe]]:
    """Every rung with all changes up to it."""
    return [(what, recipe_of([change for _, change in RUNGS[: n + 1]])) for n, (what, _) in enumerate(RUNGS)]


def without() -> list[tuple[str, Recipe]]:
    """The top rung, and the top rung with one slot as in the template."""
    modules, params = recipe_of([change for _, change in RUNGS])
    back = [(f"{slot} = {BASELINE[slot]}", ({**modules, slot: BASELINE[slot]}, params)) for slot in SLOTS]
    return [("top rung", (modules, params)), *back]


def measure(steps: Sequence[tuple[str, Recipe]], n: int, profile: str, memory: Memory) -> list[dict[str, Any]]:
    """`n` episodes of every recipe on the pool's seeds; rows of figures in the same order."""
    for first in range(0, n, BLOCK):
        for _, recipe in steps:
            for seed in range(first, min(first + BLOCK, n)):
                memory.play(recipe, profile, 0, seed)
    rows = []
    for what, recipe in steps:
        told = summary([memory.play(recipe, profile, 0, seed) for seed in range(n)])
        low, high = wilson(told["successes"], n)
        rows.append({"what": what, **told, "wilson_low": low, "wilson_high": high})
    return rows


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table."""
    lines = [
        "| | change | success (95 % Wilson) | score | median time, s | peak force median / largest, N | failures |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, row in enumerate(rows):
        failures = ", ".join(f"{word} {count}" for word, count in sorted(row["failures"].items(), key=lambda w: -w[1]))
        time_s = f"{row['seconds_median']:.1f}" if row["successes"] else "–"
        lines.append(
            f"| {number} | {row['what']} | {row['successes']} of {row['n']} "
            f"({row['wilson_low']:.2f} – {row['wilson_high']:.2f}) | {row['score']:.2f} | {time_s} | "
            f"{row['peak_median_N']:.0f} / {row['peak_max_N']:.0f} | {failures} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--profile", default="nominal")
    parser.add_argument("--without", action="store_true", help="one change taken back at a time, from the top")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--remember", type=Path, help="file of episodes played before")
    asked = parser.parse_args()
    rows = measure(without() if asked.without else rungs(), asked.n, asked.profile, Memory(asked.n, asked.remember))
    print(markdown(rows) if asked.markdown else "\n".join(json.dumps(row) for row in rows))


if __name__ == "__main__":
    main()
