"""Whole campaigns of the offline researcher on pin insertion: real schedule, judge and physics, a simulated clock.

No station, sandbox or verifier: episodes run in process by the rules of `benchmarks.pin_insertion_ladder`; a reset by
the arms costs `--reset` station seconds (measured with `nightlab reset-check`).

    python -m benchmarks.pin_insertion_climb --campaigns 3 --budget 3600 --speed 8

`--pool N` folds the seeds of all campaigns onto N fixed ones on four benches, and `--remember FILE` keeps what was played:
many campaigns for the price of the recipes they meet. Pairs stay pairs, but rates are those of the pool.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from agents.literature import Literature
from agents.offline import OfflineResearcher
from agents.recipe import read_recipe
from benchmarks.pin_insertion_memory import Memory
from data.idea_state import IdeaState
from data.synthetic import Costs, SyntheticCampaign
from nightlab import cards
from nightlab.records import CampaignSpec, EventKind, Outcome, Proposal, ProposalContext, ProposalStatus, Work
from nightlab.seeding import derive

ENVIRONMENT: Final = "pin_insertion"
EVIDENCE_S: Final = 4.0
"""Station seconds in which the gripper lets go and steps aside for the cameras."""


class PinCampaign(SyntheticCampaign):
    """The offline researcher edits real workspaces; episodes run in process by the station's rules."""

    def prepare(self, folder: Path, memory: Memory) -> None:
        """Where workspaces lie, and what was played before; makes the template's workspace."""
        self.folder, self.memory = folder, memory
        self.offline = OfflineResearcher(seed=derive(self.spec.seed, "researcher"))
        self.literature = Literature.of(ENVIRONMENT)
        self.goal = cards.card(ENVIRONMENT).goal
        shutil.copytree(cards.template(ENVIRONMENT), folder / "I0", ignore=shutil.ignore_patterns("__pycache__"))
        recipe = read_recipe(folder / "I0")
        self.recipes["I0"] = (dict(recipe.modules), dict(recipe.params))

    def _emit(
        self, kind: EventKind, iteration: str = "", station: str = "", data: dict[str, Any] | None = None,
        at_s: float | None = None,
    ) -> None:  # fmt: skip
        super()._emit(kind, iteration, station, data, at_s)
        if kind == "judged":
            told = self.state.ideas[iteration]
            print(_idea(self, told), file=sys.stderr, flush=True)
        elif kind == "work_claimed" and data and data["kind"] == "held_out":
            at = self.state.now_s - self.state.started_s
            print(f"   {at:5.0f} s {data['idea']}: {data['reason']}", file=sys.stderr, flush=True)

    def think(self, work: Work) -> tuple[Any, Proposal] | None:
        """One proposal in a fresh copy of the parent's workspace."""
        workspace = self.folder / work.iteration
        shutil.copytree(self.folder / work.parent, workspace)
        histogram = self.state.failure_histogram()
        proposal = self.offline.propose_now(
            ProposalContext(
                campaign="C1", environment=ENVIRONMENT, goal=self.goal, idea=work.iteration, incumbent=work.parent,
                workspace=str(workspace), ideas=self.state.summaries(),
                passages=tuple(self.literature.search(self.goal, histogram, k=6)),
                failure_histogram=histogram, seed=derive(self.spec.seed, "propose", work.iteration, 0),
            )
        )  # fmt: skip
        if proposal.status is not ProposalStatus.OK:
            return None
        return (dict(proposal.modules), dict(proposal.params)), proposal

    def template_modules(self) -> dict[str, str]:
        """The template's module per slot."""
        return dict(self.recipes["I0"][0])

    def forget(self, idea: str) -> None:
        """Nothing: the researcher reads the ledger."""

    def play(self, idea: str, seed: int, station: str) -> tuple[Outcome, float, int, str]:
        """One real episode; its steps are given at the 10 Hz that the simulated clock counts in."""
        station_seed = 1000 * self.spec.seed + int(station.rpartition("-")[2])
        episode = self.memory.play(self.recipes[idea], self.spec.profile, station_seed, seed)
        outcome = Outcome.SUCCESS if episode.success else Outcome.FAILURE
        return outcome, episode.score, round(episode.steps / 2), episode.word


def campaign(spec: CampaignSpec, reset_s: float, memory: Memory) -> PinCampaign:
    """Run one campaign; `reset_s` in station seconds."""
    costs = Costs(reset_s=reset_s / (spec.speed or 100.0), gap_s=EVIDENCE_S / (spec.speed or 100.0))
    with tempfile.TemporaryDirectory() as folder:
        made = PinCampaign(spec, seed=spec.seed, costs=costs)
        made.prepare(Path(folder), memory)
        made.run()
    return made


def line(made: PinCampaign) -> dict[str, Any]:
    """What came of a campaign."""
    state = made.state
    counts = Counter(i.decision.value if i.decision else i.status.value for i in state.ideas.values())
    best = state.best or state.incumbent
    held = state.held_out_of(best)
    modules, params = made.recipes[best]
    start = made.recipes["I0"][0]
    return {
        "seed": made.spec.seed,
        "solved": state.solved,
        "held_out": f"{held.rate.successes}/{held.rate.n}" if held else "",
        "kept": counts["keep"],
        "reverted": counts["revert"],
        "inconclusive": counts["inconclusive"],
        "episodes": state.episodes,
        "wall_s": round(state.now_s - state.started_s),
        "best": {slot: name for slot, name in modules.items() if start[slot] != name} | params,
    }


def _idea(made: PinCampaign, idea: IdeaState) -> str:
    """One line on what became of an idea."""
    judged, told = idea.judgement, idea.proposal.mutation if idea.proposal else {}
    at_s = idea.judged_s - made.state.started_s if judged else 0.0
    what = (
        f"{judged.decision.value} {judged.reason}; {judged.candidate.successes} vs {judged.incumbent.successes}"
        if judged
        else idea.status.value
    )
    return f"   {at_s:5.0f} s {idea.idea} on {idea.parent}: {told} {what}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=3)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--budget", type=float, default=3600.0, help="wall seconds")
    parser.add_argument("--speed", type=float, default=8.0)
    parser.add_argument("--profile", default="nominal")
    parser.add_argument("--stations", type=int, default=2)
    parser.add_argument("--reset", type=float, default=25.0, help="station seconds of a reset by the arms")
    parser.add_argument("--pool", type=int, default=0, help="fold all seeds onto so many; 0: every seed its own")
    parser.add_argument("--remember", type=Path, help="file of episodes played before")
    parser.add_argument("--target", type=float, default=0.95)
    asked = parser.parse_args()
    memory = Memory(asked.pool, asked.remember)
    for seed in range(asked.first, asked.first + asked.campaigns):
        spec = CampaignSpec(
            campaign="C1", environment=ENVIRONMENT, budget_s=asked.budget, speed=asked.speed, profile=asked.profile,
            stations=asked.stations, seed=seed, target=asked.target,
        )  # fmt: skip
        begin_s = time.monotonic()
        made = campaign(spec, asked.reset, memory)
        print(json.dumps({**line(made), "cpu_s": round(time.monotonic() - begin_s)}), flush=True)


if __name__ == "__main__":
    main()
