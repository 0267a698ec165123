"""Push-T: one module of the library per slot. Swap a module, set a knob in params.yaml, or write your own."""

from pathlib import Path

from policies.library.pipeline import Pipeline, read_params
from policies.library.push_t import (
    choose_through_centre,
    drive_creep,
    endgame_early,
    pause_long,
    recover_none,
    route_around,
    sense_raw,
)

MODULES = {
    "sense": sense_raw,
    "choose": choose_through_centre,
    "route": route_around,
    "drive": drive_creep,
    "endgame": endgame_early,
    "pause": pause_long,
    "recover": recover_none,
}


def make_policy(checkpoint: Path) -> Pipeline:
    return Pipeline(MODULES, read_params(checkpoint))
