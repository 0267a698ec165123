"""When every single swap has been tried: the best of them are joined, and knobs that come to nothing give way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.catalogue import load_catalogue
from agents.history import History
from agents.offline import OfflineResearcher
from agents.recipe import Recipe, read_recipe, write_recipe
from nightlab.records import IdeaSummary, ProposalContext

BASE = {"sense": "sense_raw", "route": "route_straight", "finish": "finish_slow"}
GOOD = {"sense": "sense_mean", "route": "route_around"}


def tried(catalogue_file: Path, make_idea: Callable[..., IdeaSummary]) -> list[IdeaSummary]:
    """An incumbent that succeeds in 45 %, and every single swap: two look better, too little to tell, the rest worse."""
    ideas = [make_idea("I0", parent=None, decision=None, status="evaluated", n=40, successes=18, mean_score=0.5)]
    for slot, name, _ in load_catalogue(catalogue_file):
        if BASE[slot] != name:
            won = 7 if GOOD.get(slot) == name else 2
            ideas.append(
                make_idea(
                    f"I{len(ideas)}", modules={**BASE, slot: name}, mutation={"slot": slot, "module": name},
                    decision="inconclusive", successes=won, mean_score=won / 10,
                )
            )  # fmt: skip
    return ideas


def test_a_module_is_hoped_of_what_it_brought(catalogue_file: Path, make_idea: Callable[..., IdeaSummary]) -> None:
    ideas = tried(catalogue_file, make_idea)
    history = History.of(load_catalogue(catalogue_file), Recipe(BASE), "I0", ideas)
    assert history.hope("sense", "sense_mean") == pytest.approx(0.5 * (1.4 - 0.95))
    assert history.hope("finish", "finish_tap") == pytest.approx(0.5 * (0.4 - 0.95))
    assert history.hope("sense", "sense_raw") == 0.0, "it was never tried in place of another"


def test_the_best_are_joined_and_fruitless_knobs_give_way(
    catalogue_file: Path,
    make_context: Callable[..., ProposalContext],
    make_workspace: Callable[[str], Path],
    make_idea: Callable[..., IdeaSummary],
) -> None:
    singles = tried(catalogue_file, make_idea)
    knobs = [
        make_idea(f"I{100 + n}", modules=BASE, params={"slow_step_px": n + 2.0}, mutation={"knob": "slow_step_px"})
        for n in range(18)
    ]

    def proposals(*told: IdeaSummary) -> Counter[str]:
        found: Counter[str] = Counter()
        for number in range(200, 240):
            workspace = make_workspace(f"{len(told)}-{number}")
            write_recipe(workspace, Recipe(BASE, read_recipe(workspace).params))
            made = OfflineResearcher(seed=3, catalogue=catalogue_file).propose_now(
                make_context(*told, idea=f"I{number}", workspace=str(workspace), seed=number)
            )
            found[made.detail] += 1
            found["best"] += made.mutation.get("swaps") == GOOD
        return found

    fresh, weary = proposals(*singles), proposals(*singles, *knobs)
    assert fresh["swap"] == weary["swap"] == 0
    assert fresh["knob"] > 5
    assert fresh["best"] > fresh["pair"] / 2 > 0
    assert weary["knob"] <= fresh["knob"] / 2
