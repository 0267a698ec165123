"""The built-in researcher: needs no model, no key and no network.

It knows the catalogue (titles, knobs, families) and the ledger, nothing else. From the incumbent it makes one change at
a time: structural swaps by Thompson sampling over families, numeric knobs by one TPE study per structure. Whether a
change is kept is the judge's business, on fresh seeds. The same seed and context give the same proposal.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from agents import moves
from agents.catalogue import catalogue_path, load_catalogue
from agents.families import Families, failure_families
from agents.history import PENDING_FAILURES, History, adoptable, worth
from agents.moves import Move
from agents.recipe import read_recipe, write_recipe
from agents.wording import Wording, describe
from agents.workspace import WorkspaceError, diff, read_text, snapshot, write_text
from nightlab.records import Passage, Proposal, ProposalContext, ProposalStatus, Usage
from nightlab.seeding import derive

ADOPT_CHANCE = 0.9
"""Chance to adopt a peer's gain at once when there is one."""
UNTRIED_FOR_FULL_SHARE = 4
"""With at least this many open swaps the structural share is at its largest."""

STUCK_PAIR_SHARE = 0.7
"""Share of pairs of swaps, at least, among the proposals once every single swap has failed on a policy that hardly
succeeds: the numbers of a wrong structure say little."""

ABLE, SLOW = 0.4, 0.65
"""An incumbent with this success rate that takes this share of the time limit on average is short of time."""

Kind = Literal["adopt", "swap", "knob", "pair"]


class OfflineResearcher:
    """Implements `nightlab.contracts.Researcher`. `seed` (the campaign's) shuffles the order of equals."""

    name = "offline"

    def __init__(self, *, seed: int = 0, catalogue: Path | None = None) -> None:
        self.seed = seed
        self._catalogue = catalogue

    async def propose(self, context: ProposalContext) -> Proposal:
        """Edit the workspace by one mutation. In a thread: a station flow's event loop must not wait for it."""
        return await asyncio.to_thread(self.propose_now, context)

    def propose_now(self, context: ProposalContext) -> Proposal:
        """`propose`, in the calling thread.

        Raises:
            UsageError: the environment has no catalogue, or it breaks the format.
        """
        begin_s = time.perf_counter()
        catalogue = load_catalogue(self._catalogue or catalogue_path(context.environment))
        workspace = Path(context.workspace)
        try:
            incumbent = read_recipe(workspace)
        except WorkspaceError as error:
            return self._nothing(f"the incumbent {context.incumbent} is not a recipe: {error}", begin_s)
        history = History.of(catalogue, incumbent, context.incumbent, context.ideas)
        families = Families(
            catalogue.families,
            history.ideas,
            passages=context.passages,
            failures={**context.failure_histogram, **_pressure(context)},
            relevance=history.relevance,
            speaks_for=failure_families(context.environment),
        )
        move, kind = self._choose(history, families, context)
        if move is None:
            return self._nothing(f"every mutation of {context.incumbent} has been tried", begin_s)
        before = snapshot(workspace)
        write_recipe(workspace, move.recipe)
        wording = describe(catalogue, incumbent, move)
        _note(workspace, context.idea, wording)
        return self._proposal(context, move, kind, wording, diff(before, snapshot(workspace)), begin_s)

    def _choose(self, history: History, families: Families, context: ProposalContext) -> tuple[Move | None, Kind]:
        """The first move nobody has tried, of the kinds in the order that chance and the state of the search give."""
        rng = random.Random(derive(self.seed, context.seed, context.idea))
        for kind in _kinds(history, context.incumbent, rng):
            for move in self._moves(kind, history, families, rng):
                if move.recipe.signature(history.catalogue) not in history.seen:
                    return move, kind
        return None, "swap"

    def _moves(self, kind: Kind, history: History, families: Families, rng: random.Random) -> Iterator[Move]:
        if kind == "adopt":
            return moves.adopt_moves(history)
        if kind == "swap":
            return moves.swap_moves(history, families, rng, self.seed)
        if kind == "knob":
            return moves.knob_moves(history, families, rng)
        return moves.pair_moves(history, families, rng)

    def _proposal(
        self, context: ProposalContext, move: Move, kind: Kind, wording: Wording, change: str, begin_s: float
    ) -> Proposal:
        return Proposal(
            status=ProposalStatus.OK,
            researcher=self.name,
            hypothesis=wording.hypothesis,
            falsified_if=wording.falsified_if,
            expected_effect=wording.expected_effect,
            family=move.family,
            mutation=move.mutation,
            params=dict(move.recipe.params),
            modules=dict(move.recipe.modules),
            parents=(context.incumbent,),
            inspired_by=move.inspired_by,
            sources=_sources(context.passages, wording.families),
            diff=change,
            usage=Usage(input_tokens=0, cached_tokens=0, output_tokens=0, cost_usd=0.0, source="offline"),
            detail=kind,
            wall_s=time.perf_counter() - begin_s,
        )

    def _nothing(self, detail: str, begin_s: float) -> Proposal:
        return Proposal(
            status=ProposalStatus.NO_CHANGE,
            researcher=self.name,
            usage=Usage(input_tokens=0, cached_tokens=0, output_tokens=0, cost_usd=0.0, source="offline"),
            detail=detail,
            wall_s=time.perf_counter() - begin_s,
        )


def _pressure(context: ProposalContext) -> dict[str, int]:
    """`out_of_time` with the weight of all failures together, where the incumbent succeeds but takes most of the time.

    The time limit is not told; the longest mean of an idea that never succeeded stands for it.
    """
    incumbent = next((idea for idea in context.ideas if idea.idea == context.incumbent), None)
    limit = max((idea.mean_steps or 0.0 for idea in context.ideas if idea.n and not idea.successes), default=0.0)
    if incumbent is None or not limit or incumbent.successes < ABLE * incumbent.n:
        return {}
    if (incumbent.mean_steps or 0.0) < SLOW * limit:
        return {}
    return {"out_of_time": max(1, sum(context.failure_histogram.values()))}


def structural_share(history: History) -> float:
    """Chance of a structural move: falls with the modules still open and with the incumbent's success.

    From .95 (nothing succeeds yet: numbers of a wrong structure say little) to .85 at full success, times the open
    swaps' weight up to `UNTRIED_FOR_FULL_SHARE`; never below .2.
    """
    open_weight = sum(moves.open_swaps(history).values())
    most = 0.95 - 0.1 * history.success
    return max(0.2, most * min(1.0, open_weight / UNTRIED_FOR_FULL_SHARE))


def _kinds(history: History, name: str, rng: random.Random) -> list[Kind]:
    """The kinds of move in the order to try them, from the incumbent called `name`.

    Where every single swap has been tried, pairs and knobs compete by Thompson sampling over what they came to here.
    """
    structural_first = rng.random() < structural_share(history)
    kinds: list[Kind] = ["swap", "knob", "pair"] if structural_first else ["knob", "swap", "pair"]
    if not moves.open_swaps(history):
        stuck = history.success < ABLE and rng.random() < STUCK_PAIR_SHARE
        pairs_first = stuck or _record(history, name, "swaps", rng) > _record(history, name, "knob", rng)
        kinds = ["pair", "knob", "swap"] if pairs_first else ["knob", "pair", "swap"]
    if rng.random() < ADOPT_CHANCE and adoptable(history.ideas):
        return ["adopt", *kinds]
    return kinds


def _record(history: History, name: str, kind: str, rng: random.Random) -> float:
    """One draw from the posterior of "a mutation of this kind is worth keeping" on the incumbent, uniform prior."""
    alpha = beta = 1.0
    parent = next((idea for idea in history.ideas if idea.idea == name), None)
    for idea in history.ideas:
        if idea.parent == name and kind in idea.mutation:
            value = worth(idea, parent)
            alpha += value or 0.0
            beta += PENDING_FAILURES if value is None else 1.0 - value
    return rng.betavariate(alpha, beta)


def _sources(passages: tuple[Passage, ...], families: tuple[str, ...]) -> tuple[str, ...]:
    """The two best passages that speak for the idea's families."""
    fitting = [passage for passage in passages if set(passage.families) & set(families)]
    return tuple(passage.source for passage in sorted(fitting, key=lambda passage: -passage.relevance)[:2])


def _note(workspace: Path, idea: str, wording: Wording) -> None:
    """Add the idea to the notes that travel with the policy."""
    path = workspace / "notes.md"
    try:
        text = read_text(path)
    except WorkspaceError:
        return
    write_text(path, f"{text.rstrip()}\n- {idea}: {wording.title}\n")
