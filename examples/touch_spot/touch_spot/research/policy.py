"""Touch the spot: one module of the library per slot. Swap a module, set a knob in params.yaml, or write your own."""

from pathlib import Path

from touch_spot_moves import move_stay, sense_raw
from touch_spot_moves.pipeline import Pipeline, read_params

MODULES = {
    "sense": sense_raw,
    "move": move_stay,
}


def make_policy(checkpoint: Path) -> Pipeline:
    return Pipeline(MODULES, read_params(checkpoint))
