"""`--researcher scripted` without a file: the knobs of the incumbent in turn, each at another place of its range.

It learns nothing and needs no model: its ideas keep robots busy with honest trials, for measuring the machinery around
them. The n-th idea of a campaign turns the n-th knob; values walk through the range by the golden ratio, so that no two
ideas are the same.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

from agents.catalogue import Knob, catalogue_path, load_catalogue
from agents.recipe import read_recipe, write_recipe
from agents.scripted import ordinal
from agents.workspace import WorkspaceError, diff, snapshot
from nightlab.records import Proposal, ProposalContext, ProposalStatus, Usage

GOLDEN = (math.sqrt(5) - 1) / 2


class TurningResearcher:
    """Implements `nightlab.contracts.Researcher`. `seed` shifts where in their ranges the values begin."""

    name = "scripted"

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    async def propose(self, context: ProposalContext) -> Proposal:
        """Turn one knob of the incumbent.

        Raises:
            UsageError: the environment has no catalogue of knobs.
        """
        begin_s = time.perf_counter()
        catalogue = load_catalogue(catalogue_path(context.environment))
        workspace = Path(context.workspace)
        usage = Usage(input_tokens=0, cached_tokens=0, output_tokens=0, cost_usd=0.0, source="scripted")
        try:
            recipe = read_recipe(workspace)
            turning = sorted((n, k) for n, (_, k) in recipe.knobs(catalogue).items() if k.low < k.high)
            if not turning:
                raise WorkspaceError("its modules have no knobs")
        except WorkspaceError as error:
            detail = f"the incumbent {context.incumbent} offers nothing to turn: {error}"
            return Proposal(status=ProposalStatus.NO_CHANGE, researcher=self.name, usage=usage, detail=detail)
        at = ordinal(context.idea, context.ideas)
        name, knob = turning[at % len(turning)]
        value = place(knob, (self.seed * GOLDEN + (at + 1) * GOLDEN) % 1.0)
        before = snapshot(workspace)
        after = recipe.tuned(name, value)
        write_recipe(workspace, after)
        return Proposal(
            status=ProposalStatus.OK,
            researcher=self.name,
            hypothesis=f"{name} at {value:.4g} {knob.unit} does better than {recipe.values(catalogue)[name]:.4g}",
            falsified_if="it does not win on paired seeds",
            family="tuning",
            mutation={"knob": name, "value": value},
            params=dict(after.params),
            modules=dict(after.modules),
            parents=(context.incumbent,),
            diff=diff(before, snapshot(workspace)),
            usage=usage,
            wall_s=time.perf_counter() - begin_s,
        )


def place(knob: Knob, share: float) -> float:
    """The value at a share in [0, 1) of a knob's range."""
    if knob.log:
        return knob.value(knob.low * (knob.high / knob.low) ** share)
    return knob.value(knob.low + share * (knob.high - knob.low))
