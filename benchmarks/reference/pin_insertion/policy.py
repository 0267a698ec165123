"""A good insertion policy, for terminal states, scripted data and tests. No sandbox mounts this folder."""

from pathlib import Path

from policies.library.pin_insertion import (
    approach_above,
    comply_phase,
    correct_lateral,
    guard_yield,
    insert_follow,
    press_servo,
    recover_again,
    search_spiral,
    sense_latest,
)
from policies.library.pin_insertion.pipeline import Pipeline
from policies.library.recipe import read_params

MODULES = {
    "sense": sense_latest,
    "approach": approach_above,
    "correct": correct_lateral,
    "search": search_spiral,
    "press": press_servo,
    "comply": comply_phase,
    "insert": insert_follow,
    "guard": guard_yield,
    "recover": recover_again,
}


def make_policy(checkpoint: Path) -> Pipeline:
    """The policy, with the knobs of its checkpoint."""
    return Pipeline(MODULES, read_params(checkpoint))
