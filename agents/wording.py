"""The words of the offline researcher's proposals: what changes, why it should help, what would refute it."""

from __future__ import annotations

from dataclasses import dataclass

from agents.catalogue import Catalogue
from agents.moves import Move
from agents.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Wording:
    """A move in words, and the families it belongs to."""

    title: str
    hypothesis: str
    falsified_if: str
    expected_effect: str
    families: tuple[str, ...]


def describe(catalogue: Catalogue, incumbent: Recipe, move: Move) -> Wording:
    """Words for a move from `incumbent`; taken from the catalogue where a module changes."""
    wording = _knob(catalogue, incumbent, move) if "knob" in move.mutation else _swaps(catalogue, incumbent, move)
    if move.inspired_by:
        return Wording(
            title=f"{wording.title} (adopted from {', '.join(move.inspired_by)})",
            hypothesis=f"What helped in {', '.join(move.inspired_by)} helps here too: {wording.hypothesis}",
            falsified_if=wording.falsified_if,
            expected_effect=wording.expected_effect,
            families=wording.families,
        )
    return wording


def _knob(catalogue: Catalogue, incumbent: Recipe, move: Move) -> Wording:
    name, value = str(move.mutation["knob"]), float(move.mutation["value"])
    slot, knob = move.recipe.knobs(catalogue)[name]
    old = incumbent.values(catalogue).get(name, knob.default)
    module = catalogue.module(slot, move.recipe.modules[slot])
    unit = f" {knob.unit}" if knob.unit else ""
    title = f"{name} {old:g} -> {value:g}{unit}"
    return Wording(
        title=title,
        hypothesis=f"{title}: {'more' if value > old else 'less'} of it suits {module.title if module else slot}.",
        falsified_if="on the same seeds neither success, nor score, nor steps improve",
        expected_effect="a few points of success or score, or fewer steps",
        families=module.families if module else (),
    )


def _swaps(catalogue: Catalogue, incumbent: Recipe, move: Move) -> Wording:
    changed = {slot: catalogue.slots[slot][name] for slot, name in move.swaps.items()}
    arrows = ", ".join(f"{slot}: {incumbent.modules.get(slot, 'none')} -> {name}" for slot, name in move.swaps.items())
    return Wording(
        title=f"{' and '.join(module.title for module in changed.values())} ({arrows})",
        hypothesis=" And: ".join(module.hypothesis for module in changed.values()),
        falsified_if="; or: ".join(filter(None, (module.falsified_if for module in changed.values())))
        or "on the same seeds neither success, nor score, nor steps improve",
        expected_effect="; ".join(filter(None, (module.expected_effect for module in changed.values()))),
        families=tuple(dict.fromkeys(family for module in changed.values() for family in module.families)),
    )
