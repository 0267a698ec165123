"""A good Push-T policy, for the scripted data set and for tests. No sandbox mounts this folder."""

from pathlib import Path

from policies.library.pipeline import Pipeline, read_params
from policies.library.push_t import (
    choose_twist,
    drive_stop,
    endgame_fine,
    pause_none,
    recover_none,
    route_around,
    sense_raw,
)

MODULES = {
    "sense": sense_raw,
    "choose": choose_twist,
    "route": route_around,
    "drive": drive_stop,
    "endgame": endgame_fine,
    "pause": pause_none,
    "recover": recover_none,
}


def make_policy(checkpoint: Path) -> Pipeline:
    """The policy, with the knobs of its checkpoint."""
    return Pipeline(MODULES, read_params(checkpoint))
