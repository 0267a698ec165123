"""The moves open from an incumbent: adopt a peer's gain, swap a module, tune a knob, combine two swaps.

Each kind of move yields its candidates in the order in which it would try them; the researcher takes the first that
nobody has tried.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.families import Families
from agents.history import Attempt, History, adoptable, swaps
from agents.recipe import Recipe
from nightlab.seeding import derive

TUNING = "tuning"
"""The family of numeric proposals; not part of Thompson sampling over structures."""
NO_GAIN_WEIGHT = 0.4
"""Weight of a module that made no difference beside other modules, next to an untried one."""
HARM_WEIGHT = 0.15
"""Weight of a module that did harm beside other modules."""
DISPLACED_WEIGHT = 0.25
"""Weight of a module that a better one has replaced."""
HOPE_NOISE = 0.2
"""How far chance and the families' draws move a module's hope in pairs; about the spread of a trial of ten episodes."""
SAME_NEIGHBOURS = 0.0
"""Factor when it failed beside the very modules that surround it now: only other knob values have changed."""


@dataclass(frozen=True)
class Move:
    """One change from the incumbent's recipe."""

    recipe: Recipe
    family: str
    mutation: dict[str, Any]
    inspired_by: tuple[str, ...] = ()
    swaps: Mapping[str, str] = field(default_factory=dict)


def weight(history: History, slot: str, module: str) -> float:
    """How much a swap deserves a trial next to an untried one (1); 0 while pending or with nothing changed since."""
    tries: list[Attempt] = history.tries(slot, module)
    if not tries:
        return 1.0
    if any(attempt.worth is None for attempt in tries):
        return 0.0
    now = history.others(slot)
    if any(attempt.others == now for attempt in tries):
        return SAME_NEIGHBOURS
    return math.prod(_again(attempt) for attempt in tries)


def _again(attempt: Attempt) -> float:
    """Factor on a module's weight for one failure: near 1 once its result says nothing about today's incumbent.

    What lost to a module that has itself been replaced by a better one stays unlikely.
    """
    if attempt.displaced:
        return DISPLACED_WEIGHT
    if attempt.outclassed:
        return HARM_WEIGHT
    floor = NO_GAIN_WEIGHT if attempt.worth else HARM_WEIGHT
    return floor + (1.0 - floor) * (1.0 - attempt.relevance)


def open_swaps(history: History) -> dict[tuple[str, str], float]:
    """(slot, module) → weight of every swap with a positive weight."""
    found: dict[tuple[str, str], float] = {}
    for slot, name, _ in history.catalogue:
        if slot in history.incumbent.modules and history.incumbent.modules[slot] != name:
            value = weight(history, slot, name)
            if value > 0:
                found[slot, name] = value
    return found


def swap_moves(history: History, families: Families, rng: random.Random, order_seed: int) -> Iterator[Move]:
    """Swaps by Thompson sampling: one draw per family; modules of one family in the campaign's own shuffled order."""
    draws, slots = families.draw(rng), history.slot_means()
    ranked: list[tuple[float, int, str, str, str]] = []
    for (slot, name), value in open_swaps(history).items():
        module = history.catalogue.slots[slot][name]
        family = max(module.families, key=lambda known: draws[known])
        # The mean over its families: with the best of them a module of many families would be preferred unseen.
        promise = sum(draws[known] for known in module.families) / len(module.families)
        rank = promise * slots[slot] * value * families.favour(module.families, module.expected_effect)
        ranked.append((-rank, derive(order_seed, "order", slot, name), slot, name, family))
    for _, _, slot, name, family in sorted(ranked):
        recipe = history.incumbent.swapped(history.catalogue, slot, name)
        yield Move(recipe, family, {"slot": slot, "module": name}, swaps={slot: name})


def adopt_moves(history: History) -> Iterator[Move]:
    """Ideas that beat their parent but came second to another, put on top of the incumbent; each is adopted once.

    Left out where the incumbent has changed the same slot or knob since: it would undo that gain.
    """
    adopted = {idea.mutation.get("adopted") for idea in history.ideas}
    for idea in adoptable(history.ideas):
        if idea.idea in adopted or history.overtaken(idea):
            continue
        recipe, changed = history.incumbent, swaps(idea.mutation)
        for slot, name in changed.items():
            if slot in recipe.modules and history.catalogue.module(slot, name):
                recipe = recipe.swapped(history.catalogue, slot, name)
        knob = idea.mutation.get("knob")
        if isinstance(knob, str) and knob in recipe.knobs(history.catalogue) and knob in idea.params:
            recipe = recipe.tuned(knob, idea.params[knob])
        mutation = {**idea.mutation, "adopted": idea.idea}
        yield Move(recipe, idea.family, mutation, inspired_by=(idea.idea,), swaps=changed)


def pair_moves(history: History, families: Families, rng: random.Random) -> Iterator[Move]:
    """Two swaps at once, for when every single one has been tried here: what alone was too little to tell may do together.

    In the order of what the two brought alone (`History.hope`), with a little noise, so that pairs side by side differ.
    """
    draws = families.draw(rng)
    hopes: list[tuple[float, str, str, str]] = []
    for slot, name, module in history.catalogue:
        if history.incumbent.modules.get(slot, name) != name:
            family = max(module.families, key=lambda known: draws[known])
            noise = HOPE_NOISE * (0.5 * draws[family] + 0.5 * rng.random())
            hopes.append((history.hope(slot, name) + noise, slot, name, family))
    hopes.sort(reverse=True)
    for later in range(1, len(hopes)):
        for earlier in range(later):
            (_, slot_a, a, family), (_, slot_b, b, _) = hopes[earlier], hopes[later]
            if slot_a != slot_b:
                recipe = history.incumbent.swapped(history.catalogue, slot_a, a).swapped(history.catalogue, slot_b, b)
                both = {slot_a: a, slot_b: b}
                yield Move(recipe, family, {"swaps": both}, swaps=both)


def knob_moves(history: History, families: Families, rng: random.Random, tries: int = 3) -> Iterator[Move]:
    """One knob at a time, `tries` values each."""
    from agents import knobs

    taste = {family: families.mean(family) for family in families.alpha}
    for name in knobs.focus(history, rng, taste):
        slot, _ = history.incumbent.knobs(history.catalogue)[name]
        for _ in range(tries):
            value = knobs.suggest(history, name, rng.getrandbits(31))
            yield Move(history.incumbent.tuned(name, value), TUNING, {"knob": name, "value": value, "slot_of": slot})
