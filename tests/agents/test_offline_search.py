"""The offline researcher climbs a synthetic ladder with interactions, four ideas at a time, from any seed."""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path

import pytest
import yaml

from agents.offline import OfflineResearcher
from agents.recipe import Recipe
from nightlab.records import Decision, IdeaSummary, IterationStatus, ProposalContext, ProposalStatus
from nightlab.seeding import derive

SLOTS = ("sense", "choose", "route", "drive", "endgame", "pause", "recover")
FAMILIES = ("estimation", "contact", "planning", "tracking", "precision", "latency", "recovery")
WINDOW = 4
TRIALS = 40


def score(recipe: Recipe) -> float:
    """Mean score of a recipe in [0, 1]: `b` of choose pays only with `b` of route, `b` of endgame only near the goal."""
    has = recipe.modules
    value = 0.2
    routed = has["route"] in ("route_b", "route_c")
    value += {"route_b": 0.3, "route_c": 0.2}.get(has["route"], 0.0)
    gain = {"choose_b": (0.4, 0.05), "choose_c": (0.3, 0.0), "choose_d": (-0.05, -0.05)}
    value += gain.get(has["choose"], (0.0, 0.0))[0 if routed else 1]
    if value > 0.75:
        value += {"endgame_b": 0.05, "endgame_c": -0.1}.get(has["endgame"], 0.0)
    value += {"drive_b": 0.015, "drive_c": -0.2}.get(has["drive"], 0.0)
    value += {"recover_b": 0.02, "recover_c": -0.03}.get(has["recover"], 0.0) if value > 0.6 else 0.0
    value -= 0.02 * abs(math.log(float(recipe.params.get("endgame_step", 16.0)) / 6.0)) if value > 0.8 else 0.0
    return min(1.0, value)


def success(recipe: Recipe) -> float:
    """Success probability: 0 below a score of .7, 1 from .96 on."""
    return min(1.0, max(0.0, (score(recipe) - 0.7) / 0.26))


def catalogue() -> dict[str, object]:
    def module(slot: str, letter: str) -> dict[str, object]:
        number = SLOTS.index(slot)
        knobs = {f"{slot}_step": {"low": 2, "high": 40, "default": 16, "log": True}} if letter in "ab" else {}
        return {"title": f"{slot} {letter}", "hypothesis": "helps", "families": [FAMILIES[number]], "knobs": knobs}

    return {slot: {f"{slot}_{letter}": module(slot, letter) for letter in "abcd"} for slot in SLOTS}


def climb(seed: int, root: Path) -> list[float]:
    """Success of the incumbent after each decided trial, with a judge that is noisy as ten pairs are."""
    root.mkdir()
    (root / "catalogue.yaml").write_text(yaml.safe_dump(catalogue(), sort_keys=False))
    lines = [f"from mini.library import {slot}_a" for slot in SLOTS]
    table = [f'    "{slot}": {slot}_a,' for slot in SLOTS]
    policy = "\n".join([*lines, "MODULES = {", *table, "}", ""])
    researcher = OfflineResearcher(seed=seed, catalogue=root / "catalogue.yaml")
    noise = random.Random(seed)
    code = {"I0": (policy, "{}\n")}
    recipes = {"I0": Recipe({slot: f"{slot}_a" for slot in SLOTS})}
    start = IdeaSummary(
        idea="I0", parent=None, family="other", mutation={}, hypothesis="", status=IterationStatus.EVALUATED,
        n=20, successes=0, mean_score=0.2, researcher="",
    )  # fmt: skip
    ideas: dict[str, IdeaSummary] = {"I0": start}
    incumbent, pending, number, curve = "I0", [], 0, [success(recipes["I0"])]
    while len(curve) <= TRIALS:
        while len(pending) < WINDOW:
            number += 1
            name = f"I{number}"
            workspace = root / name
            workspace.mkdir()
            (workspace / "policy.py").write_text(code[incumbent][0])
            (workspace / "params.yaml").write_text(code[incumbent][1])
            context = ProposalContext(
                campaign="C1", environment="mini", goal="push", idea=name, incumbent=incumbent,
                workspace=str(workspace), ideas=tuple(ideas.values()), seed=derive(seed, name),
            )  # fmt: skip
            made = researcher.propose_now(context)
            assert made.status is ProposalStatus.OK, made.detail
            code[name] = (workspace / "policy.py").read_text(), (workspace / "params.yaml").read_text()
            recipes[name] = Recipe(made.modules, made.params)
            ideas[name] = IdeaSummary(
                idea=name, parent=incumbent, family=made.family, mutation=made.mutation, params=made.params,
                modules=made.modules, hypothesis=made.hypothesis, status=IterationStatus.RUNNING, researcher="offline",
            )  # fmt: skip
            pending.append(name)
        name = pending.pop(noise.randrange(2))
        idea = ideas[name]
        ahead = score(recipes[name]) - score(recipes[incumbent]) + noise.gauss(0.0, 0.008)
        over_parent = score(recipes[name]) - score(recipes[str(idea.parent)]) + noise.gauss(0.0, 0.008)
        decision = Decision.KEEP if ahead > 0.015 else Decision.REVERT if ahead < -0.005 else Decision.INCONCLUSIVE
        ideas[name] = idea.model_copy(
            update={
                "status": IterationStatus.DECIDED,
                "decision": decision,
                "beats_parent": decision is not Decision.KEEP and over_parent > 0.015,
                "n": 20,
                "successes": round(20 * success(recipes[name])),
                "mean_score": score(recipes[name]),
            }
        )
        if decision is Decision.KEEP:
            incumbent = name
        curve.append(success(recipes[incumbent]))
    return curve


@pytest.mark.parametrize("structures_only", [True])
def test_reaches_the_top_of_the_ladder_from_every_seed(tmp_path: Path, structures_only: bool) -> None:
    needed = []
    for seed in range(12):
        curve = climb(seed, tmp_path / str(seed))
        needed.append(next((trial for trial, rate in enumerate(curve) if rate >= 0.9), TRIALS + 1))
    assert statistics.median(needed) <= 25, needed
    assert max(needed) <= TRIALS, needed
