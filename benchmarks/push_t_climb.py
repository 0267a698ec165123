"""Whole campaigns of the offline researcher on the Push-T world: real schedule, judge and physics, a simulated clock.

No station, sandbox or verifier: episodes run in process by the rules of `benchmarks.push_t_ladder`.

    python -m benchmarks.push_t_climb --campaigns 5 --budget 480 --profile nominal
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agents.literature import Literature
from agents.offline import OfflineResearcher
from agents.recipe import Recipe, write_recipe
from benchmarks.push_t_ladder import BASELINE, Episode, make_policy, make_table, run_episode
from data.schedule import TrialPlan
from data.synthetic import Process, SyntheticCampaign, kept_ideas
from nightlab.records import (
    CampaignSpec,
    Decision,
    Idea,
    Outcome,
    Proposal,
    ProposalContext,
    SeedPool,
    Work,
)
from policies.library.pipeline import Pipeline
from robots.worlds.push_t import PushTWorld

TEMPLATE: Final = Path(__file__).resolve().parents[1] / "research" / "push_t"
GOAL: Final = "push the T onto its goal and hold it there"


@dataclass(frozen=True)
class LadderRecipe:
    """Modules and knobs of one idea."""

    modules: dict[str, str]
    params: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        """Unique per recipe."""
        return json.dumps([self.modules, self.params], sort_keys=True)


@dataclass
class LadderResearcher:
    """The offline researcher behind the synthetic campaign's interface."""

    campaign: LadderCampaign
    seed: int
    tried: set[str] = field(default_factory=set)
    latest: Proposal | None = None

    def __post_init__(self) -> None:
        self._inner = OfflineResearcher(seed=self.seed, catalogue=self.campaign.catalogue)
        self._numbers = 0

    def propose(self, parent: LadderRecipe) -> tuple[LadderRecipe, str, dict[str, Any]]:
        """(new recipe, hypothesis, mutation), by way of a workspace as in a lab."""
        state = self.campaign.state
        self._numbers += 1
        name = next(name for name, recipe in reversed(self.campaign.recipes.items()) if recipe is parent)
        with tempfile.TemporaryDirectory() as folder:
            _write_workspace(Path(folder), parent)
            histogram = state.failure_histogram()
            context = ProposalContext(
                campaign="C1", environment="push_t", goal=GOAL, idea=f"P{self._numbers}", incumbent=name,
                workspace=folder, ideas=state.summaries(), passages=tuple(Literature.load().search(GOAL, histogram)),
                failure_histogram=histogram, seed=self.seed,
            )  # fmt: skip
            proposal = self._inner.propose_now(context)
        self.latest = proposal
        if not proposal.mutation:
            return parent, "nothing new", {}
        return LadderRecipe(dict(proposal.modules), dict(proposal.params)), proposal.hypothesis, dict(proposal.mutation)


@dataclass
class LadderCampaign(SyntheticCampaign):
    """A synthetic campaign whose episodes are real physics."""

    base: dict[str, str] = field(default_factory=lambda: dict(BASELINE))
    catalogue: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.recipes: dict[str, Any] = {"I0": LadderRecipe(dict(self.base))}
        self.researcher: Any = LadderResearcher(self, self.seed)
        self._worlds: dict[int, PushTWorld] = {}
        self._policies: dict[str, Pipeline] = {}
        self._cache: dict[tuple[str, int, int], Episode] = {}

    def _pair(self, work: Work, plan: TrialPlan, pool: SeedPool, seed: int) -> Process:
        where = work.station if self.spec.stations_differ else None
        for idea in (work.iteration, plan.incumbent):
            if self.state.result(idea, pool, seed, where) is None:
                yield from self._episode(work, idea, pool, seed)

    def _episode(self, work: Work, idea: str, pool: SeedPool, seed: int) -> Any:
        number = int(work.station.removeprefix("robot-"))
        station_seed = work.station_seed if work.station_seed is not None else 1000 * self.seed + number
        episode = self._run(self.recipes[idea], station_seed if self.spec.profile != "nominal" else 0, seed)
        outcome = Outcome.SUCCESS if episode.success else Outcome.FAILURE
        yield self._record(work, idea, pool, seed, 0, (outcome, episode.score, episode.steps, _word(episode)))

    def _run(self, recipe: LadderRecipe, station_seed: int, seed: int) -> Episode:
        text = recipe.text()
        key = text, station_seed, seed
        if key not in self._cache:
            if station_seed not in self._worlds:
                self._worlds[station_seed] = make_table(self.spec.profile, station_seed)
            if text not in self._policies:
                self._policies[text] = make_policy(recipe.modules, recipe.params)
            self._cache[key] = run_episode(self._worlds[station_seed], self._policies[text], seed)
        return self._cache[key]

    def _commit(self, name: str, parent: str | None, proposal: Proposal, station: str = "") -> None:
        recipe = self.recipes[name]
        latest = getattr(self.researcher, "latest", None)
        told = {"modules": recipe.modules, "params": recipe.params}
        if parent is not None and latest is not None:
            told |= {"family": latest.family, "inspired_by": latest.inspired_by}
        proposal = proposal.model_copy(update=told)
        idea = Idea(idea=name, commit=f"{len(self.events):040x}", parent=parent, branch="research/offline",
                    proposal=proposal)  # fmt: skip
        self._emit("idea_committed", name, station, idea.model_dump(mode="json"))


def _write_workspace(folder: Path, recipe: LadderRecipe) -> None:
    for name in ("policy.py", "train.py", "params.yaml", "notes.md"):
        (folder / name).write_text((TEMPLATE / name).read_text())
    write_recipe(folder, Recipe(recipe.modules, recipe.params))


def _word(episode: Episode) -> str:
    if episode.success:
        return ""
    if episode.end == "held":
        return "not_held"
    return "near_miss" if episode.score > 0.9 else "rotated" if episode.score > 0.5 else "missed_goal"


def run_campaign(
    seed: int,
    budget_s: float,
    profile: str,
    verbose: bool = False,
    speed: float = 10.0,
    base: dict[str, str] | None = None,
    catalogue: Path | None = None,
) -> dict[str, Any]:
    """One campaign; what it came to."""
    begun = time.perf_counter()
    spec = CampaignSpec(stations=2, budget_s=budget_s, profile=profile, seed=seed, speed=speed)
    campaign = LadderCampaign(spec, seed=seed, base={**BASELINE, **(base or {})}, catalogue=catalogue)
    events = campaign.run()
    state = campaign.state
    kept = [name for name in kept_ideas(state) if name != "I0"]
    decided = [idea for idea in state.ideas.values() if idea.decision is not None]
    held = list(state.draws.values())
    best = campaign.recipes[state.incumbent]
    if verbose:
        for idea in state.ideas.values():
            if idea.judgement is not None and idea.proposal is not None:
                j = idea.judgement
                print(f"   {idea.idea:4s} on {idea.parent} {idea.proposal.mutation} {j.decision.value}: {j.reason} "
                      f"[{j.candidate.successes}/{j.candidate.n} vs {j.incumbent.successes}/{j.incumbent.n}]")  # fmt: skip
    return {
        "seed": seed,
        "solved": bool(state.stop_reason(campaign.now_s) == "solved" or any(getattr(d, "passed", False) for d in held)),
        "stop": state.stop_reason(campaign.now_s),
        "sim_s": round(campaign.now_s - events[0].wall_s),
        "trials": len(decided),
        "kept": len(kept),
        "reverted": sum(idea.decision is Decision.REVERT for idea in decided),
        "inconclusive": sum(idea.decision is Decision.INCONCLUSIVE for idea in decided),
        "episodes": state.episodes,
        "draws": [(d.number, len(d.results), d.failures) for d in held],
        "best": {slot: name for slot, name in best.modules.items() if BASELINE[slot] != name} | best.params,
        "cpu_s": round(time.perf_counter() - begun, 1),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--campaigns", type=int, default=3)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--budget", type=float, default=480.0)
    parser.add_argument("--profile", default="nominal")
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--base", nargs="*", default=[], help="slot=module of another baseline")
    parser.add_argument("--catalogue", type=Path)
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    base = dict(item.split("=") for item in arguments.base)
    for seed in range(arguments.first, arguments.first + arguments.campaigns):
        print(
            json.dumps(
                run_campaign(
                    seed,
                    arguments.budget,
                    arguments.profile,
                    arguments.verbose,
                    arguments.speed,
                    base,
                    arguments.catalogue,
                )
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
