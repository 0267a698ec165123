"""A whole campaign on a simulated clock: the real schedule, judge and offline researcher; physics real or made up.

    python -m benchmarks.search_simulation --seeds 0:40                    # made-up Push-T, chance researcher
    python -m benchmarks.search_simulation --seeds 0:4 --physics           # real library, physics, offline researcher

With `--physics` an episode costs 0.1 to 0.5 CPU-seconds; a campaign some minutes. `--keep FILE` writes the events of
the last campaign as JSON lines, `--report FILE` its report.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from agents.literature import Literature
from agents.offline import OfflineResearcher
from benchmarks.ladder import parse_range
from benchmarks.push_t_ladder import Episode, make_policy, make_table, run_episode
from data.synthetic import SyntheticCampaign
from nightlab.records import CampaignSpec, Outcome, Proposal, ProposalContext, ProposalStatus, Work
from nightlab.seeding import derive
from robots.worlds.push_t import PushTWorld

TEMPLATE = Path(__file__).resolve().parents[1] / "research" / "push_t"


class PhysicsCampaign(SyntheticCampaign):
    """The offline researcher edits real workspaces; episodes run in process by the station's rules."""

    def prepare(self, folder: Path) -> None:
        """Where workspaces lie; makes the template's."""
        self.folder = folder
        self.offline = OfflineResearcher(seed=derive(self.spec.seed, "researcher"))
        self.literature = Literature.load()
        self.worlds: dict[str, PushTWorld] = {}
        self.policies: dict[str, Any] = {}
        shutil.copytree(TEMPLATE, folder / "I0")
        from agents.recipe import read_recipe

        recipe = read_recipe(folder / "I0")
        self.recipes["I0"] = (dict(recipe.modules), dict(recipe.params))

    def think(self, work: Work) -> tuple[Any, Proposal] | None:
        """One proposal in a fresh copy of the parent's workspace."""
        workspace = self.folder / work.iteration
        shutil.copytree(self.folder / work.parent, workspace)
        histogram = self.state.failure_histogram()
        proposal = self.offline.propose_now(
            ProposalContext(
                campaign="C1", environment="push_t", goal="push the T block onto its goal", idea=work.iteration,
                incumbent=work.parent, workspace=str(workspace), ideas=self.state.summaries(),
                passages=tuple(self.literature.search("push the T block onto its goal", histogram, k=6)),
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
        """One real episode."""
        if station not in self.worlds:
            number = int(station.rpartition("-")[2])
            self.worlds[station] = make_table(self.spec.profile, 1000 * self.spec.seed + number)
        if idea not in self.policies:
            self.policies[idea] = make_policy(*self.recipes[idea])
        episode = run_episode(self.worlds[station], self.policies[idea], seed)
        outcome = Outcome.SUCCESS if episode.success else Outcome.FAILURE
        return outcome, episode.score, episode.steps, word(episode)


def word(episode: Episode) -> str:
    """The verifier's word for a failure, roughly."""
    if episode.success:
        return ""
    if episode.score > 0.9:
        return "near_miss"
    return "missed_goal" if episode.best > 0.1 else "never_moved"


def campaign(spec: CampaignSpec, *, physics: bool, insight: int) -> SyntheticCampaign:
    """Run one campaign."""
    if not physics:
        made = SyntheticCampaign(spec, seed=spec.seed, insight=insight, gives_up_at=220)
        made.run()
        return made
    with tempfile.TemporaryDirectory() as folder:
        real = PhysicsCampaign(spec, seed=spec.seed)
        real.prepare(Path(folder))
        real.run()
    return real


def line(made: SyntheticCampaign) -> dict[str, Any]:
    """What came of a campaign."""
    state = made.state
    counts = Counter(i.decision.value if i.decision else i.status.value for i in state.ideas.values())
    held = state.held_out_of(state.best)
    return {
        "seed": made.spec.seed,
        "solved": state.solved,
        "kept": counts["keep"],
        "reverted": counts["revert"],
        "inconclusive": counts["inconclusive"],
        "stopped": counts["stopped"],
        "episodes": state.episodes,
        "held_out": f"{held.rate.successes}/{held.rate.n}" if held else "",
        "draws": len(state.draws),
        "wall_s": round(state.now_s - state.started_s),
        "busy": round(state.busy_wall_s / made.spec.stations / (state.now_s - state.started_s), 3),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", default="0:20")
    parser.add_argument("--budget", type=float, default=600.0, help="wall seconds")
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--profile", default="nominal")
    parser.add_argument("--stations", type=int, default=2)
    parser.add_argument("--window", type=int, default=2)
    parser.add_argument("--insight", type=int, default=3, help="made-up researcher: best of so many random ideas")
    parser.add_argument("--physics", action="store_true")
    parser.add_argument("--ideas", action="store_true", help="print every idea")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args()
    rows = []
    for seed in parse_range(asked.seeds):
        spec = CampaignSpec(
            campaign="C1", budget_s=asked.budget, speed=asked.speed, profile=asked.profile, stations=asked.stations,
            window=asked.window, seed=seed,
        )  # fmt: skip
        begin_s = time.monotonic()
        made = campaign(spec, physics=asked.physics, insight=asked.insight)
        rows.append(line(made))
        print(json.dumps({**rows[-1], "cpu_s": round(time.monotonic() - begin_s)}), flush=True)
        if asked.ideas:
            show(made)
        if asked.keep:
            asked.keep.write_text("".join(event.model_dump_json() + "\n" for event in made.events))
        if asked.report:
            from data.report import render

            asked.report.write_text(render(made.spec, made.events))
    print(
        json.dumps(
            {
                "campaigns": len(rows),
                "solved": sum(row["solved"] for row in rows),
                "solved with kept >= 4 and reverted >= 3": sum(
                    row["solved"] and row["kept"] >= 4 and row["reverted"] >= 3 for row in rows
                ),
                "kept, median": statistics.median(row["kept"] for row in rows),
                "reverted, median": statistics.median(row["reverted"] for row in rows),
                "wall_s, median": statistics.median(row["wall_s"] for row in rows),
            }
        )
    )


def show(made: SyntheticCampaign) -> None:
    """Every idea of a campaign, one line each."""
    for idea in made.state.ideas.values():
        judged = idea.judgement
        told = idea.proposal.mutation if idea.proposal else {}
        at_s = idea.judged_s - made.state.started_s if judged else 0.0
        what = (
            f"{judged.decision.value} {judged.reason}; {judged.candidate.successes} vs {judged.incumbent.successes}"
            if judged
            else idea.status.value
        )
        print(f"   {at_s:5.0f} s {idea.idea} on {idea.parent}: {told} {what}")


if __name__ == "__main__":
    main()
