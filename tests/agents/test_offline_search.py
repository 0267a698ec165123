"""The offline researcher climbs a synthetic ladder with interactions, four ideas at a time, from any seed."""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path

import yaml

from agents.offline import OfflineResearcher
from agents.recipe import Recipe
from nightlab.records import Decision, IdeaSummary, IterationStatus, ProposalContext, ProposalStatus
from nightlab.seeding import derive

SLOTS = ("sense", "choose", "route", "drive", "endgame", "pause", "recover")
FAMILIES = ("estimation", "contact", "planning", "tracking", "precision", "latency", "recovery")
LETTERS = dict.fromkeys(SLOTS, "abcd") | {"choose": "abcdef", "sense": "abc"}
WINDOW = 4
TRIALS = 40


CHOOSE = {"a": (0.0, 0.54), "b": (0.02, 0.51), "c": (0.0, 0.35), "d": (0.5, 0.88), "e": (0.6, 0.90), "f": (0.85, 0.92)}
"""Success and score of failures with a way around the block; without one there is no success and little score."""
HARM = {"route_c": 0.92, "route_d": 0.3, "drive_b": 0.95, "drive_d": 0.3, "endgame_c": 0.6, "endgame_d": 0.8,
        "pause_d": 0.7, "recover_d": 0.85, "sense_b": 0.85, "sense_c": 0.9}  # fmt: skip


def quality(recipe: Recipe) -> tuple[float, float]:
    """(success probability, mean score) of a recipe: a made-up ladder whose rungs need one another."""
    has = recipe.modules
    rate, lost = CHOOSE[has["choose"][-1]]
    if has["route"] == "route_a":
        rate, lost = 0.0, 0.2 + 0.1 * (rate > 0)
    if has["endgame"] == "endgame_b" and rate > 0.3:
        rate = 1 - (1 - rate) * 0.1
    for name in has.values():
        rate *= HARM.get(name, 1.0)
        lost *= 0.5 + 0.5 * HARM.get(name, 1.0)
    if has["recover"] == "recover_b" and rate > 0.3:
        rate = 1 - (1 - rate) * 0.5
    knob = float(recipe.params.get("endgame_step", 16.0))
    rate *= 1 - 0.05 * abs(math.log(knob / 8.0)) if has["endgame"] == "endgame_b" else 1.0
    return rate, rate * 0.96 + (1 - rate) * lost


def success(recipe: Recipe) -> float:
    return quality(recipe)[0]


def score(recipe: Recipe) -> float:
    return quality(recipe)[1]


def failures(recipe: Recipe) -> dict[str, int]:
    """What the verifier would say of twenty episodes."""
    rate, count = success(recipe), round(20 * (1 - success(recipe)))
    if recipe.modules["route"] == "route_a":
        return {"never_moved": count // 2, "missed_goal": count - count // 2}
    close = round(count * 0.8) if rate > 0.3 and recipe.modules["endgame"] != "endgame_b" else count // 5
    return {"near_miss": close, "missed_goal": count - close}


def lead(candidate: Recipe, incumbent: Recipe, noise: random.Random) -> float:
    """What some twenty pairs show, noise included: success first, score where success tells nothing."""
    (rate, mean), (old_rate, old_mean) = quality(candidate), quality(incumbent)
    spread = 0.15 * math.sqrt(rate * (1 - rate) + old_rate * (1 - old_rate))
    more = rate - old_rate + noise.gauss(0.0, spread)
    return more if abs(more) > 0.05 else more + mean - old_mean + noise.gauss(0.0, 0.01)


def catalogue() -> dict[str, object]:
    def module(slot: str, letter: str) -> dict[str, object]:
        number = SLOTS.index(slot)
        knobs = {f"{slot}_step": {"low": 2, "high": 40, "default": 16, "log": True}} if letter in "ab" else {}
        return {"title": f"{slot} {letter}", "hypothesis": "helps", "families": [FAMILIES[number]], "knobs": knobs}

    return {slot: {f"{slot}_{letter}": module(slot, letter) for letter in LETTERS[slot]} for slot in SLOTS}


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
    pending: list[str] = []
    incumbent, number, curve = "I0", 0, [success(recipes["I0"])]
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
                failure_histogram=failures(recipes[incumbent]),
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
        ahead = lead(recipes[name], recipes[incumbent], noise)
        over_parent = lead(recipes[name], recipes[str(idea.parent)], noise)
        decision = Decision.KEEP if ahead > 0.03 else Decision.REVERT if ahead < -0.01 else Decision.INCONCLUSIVE
        ideas[name] = idea.model_copy(
            update={
                "status": IterationStatus.DECIDED,
                "decision": decision,
                "beats_parent": decision is not Decision.KEEP and over_parent > 0.03,
                "n": 20,
                "successes": round(20 * success(recipes[name])),
                "mean_score": score(recipes[name]),
            }
        )
        if decision is Decision.KEEP:
            incumbent = name
        curve.append(success(recipes[incumbent]))
    return curve


def test_climbs_the_ladder_from_every_seed(tmp_path: Path) -> None:
    half, most = [], []
    for seed in range(10):
        curve = climb(seed, tmp_path / str(seed))
        half.append(next((trial for trial, rate in enumerate(curve) if rate >= 0.4), TRIALS + 1))
        most.append(next((trial for trial, rate in enumerate(curve) if rate >= 0.85), TRIALS + 1))
    assert statistics.median(half) <= 14, half
    assert statistics.median(most) <= 28, most
    assert max(half) <= TRIALS, half
