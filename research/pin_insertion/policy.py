"""Pin insertion: one module of the library per slot. Swap a module, set a knob in params.yaml, or write your own."""

from pathlib import Path

from policies.library.pin_insertion import (
    approach_direct,
    comply_soft,
    correct_none,
    guard_none,
    insert_ram,
    press_firm,
    recover_none,
    search_none,
    sense_nominal,
)
from policies.library.pin_insertion.pipeline import Pipeline
from policies.library.recipe import read_params

MODULES = {
    "sense": sense_nominal,
    "approach": approach_direct,
    "correct": correct_none,
    "search": search_none,
    "press": press_firm,
    "comply": comply_soft,
    "insert": insert_ram,
    "guard": guard_none,
    "recover": recover_none,
}


def make_policy(checkpoint: Path) -> Pipeline:
    return Pipeline(MODULES, read_params(checkpoint))
