"""The researcher that thinks by the clock: times, and the knobs that it turns."""

from __future__ import annotations

import asyncio
import math
import re
import shutil
import statistics
from pathlib import Path

import pytest

from agents import make_researcher
from agents.clock import parse_clock
from agents.recipe import read_recipe
from agents.turns import TurningResearcher
from nightlab import cards
from nightlab.errors import UsageError
from nightlab.records import CampaignSpec, Proposal, ProposalContext, ProposalStatus


def test_a_lognormal_clock_has_the_median_and_spread_it_was_given() -> None:
    clock = parse_clock("lognormal:40:0.5")
    drawn = [clock.draw_s(seed) for seed in range(4000)]
    assert statistics.median(drawn) == pytest.approx(40, rel=0.05)
    assert statistics.stdev(map(math.log, drawn)) == pytest.approx(0.5, rel=0.05)
    assert statistics.mean(drawn) == pytest.approx(clock.mean_s, rel=0.05)
    assert clock.draw_s(7) == clock.draw_s(7), "an iteration that is run again thinks as long as before"


def test_a_number_is_a_constant_and_nothing_is_no_time() -> None:
    assert [parse_clock("12.5").draw_s(seed) for seed in (1, 2)] == [12.5, 12.5]
    assert parse_clock("").draw_s(1) == 0.0


@pytest.mark.parametrize("text", ["x", "lognormal", "lognormal:1", "lognormal:1:-1", "normal:1:1", "-3", "nan"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape("--think lognormal:40:0.5")):
        parse_clock(text)


def test_times_are_scaled_by_the_stations_clock() -> None:
    from tasks.propose import think_wall_s
    from tasks.train import train_wall_s

    spec = CampaignSpec(speed=10, think="80", train="20")
    assert (think_wall_s(spec, "I1"), train_wall_s(spec, "I1")) == (8.0, 2.0)
    assert think_wall_s(CampaignSpec(speed=0, think="80"), "I1") == 0.0, (
        "at speed max there is no station time to scale"
    )


def propose(folder: Path, idea: str) -> Proposal:
    workspace = folder / idea
    shutil.copytree(cards.template("push_t"), workspace)
    context = ProposalContext(
        campaign="C1",
        environment="push_t",
        goal="",
        idea=idea,
        incumbent="I0",
        workspace=str(workspace),
        ideas=(),
        seed=0,
    )
    return asyncio.run(TurningResearcher(seed=3).propose(context))


def test_scripted_without_a_file_turns_one_knob_after_the_other(tmp_path: Path) -> None:
    assert isinstance(make_researcher("scripted"), TurningResearcher)
    made = [propose(tmp_path, f"I{number}") for number in range(1, 8)]
    assert {proposal.status for proposal in made} == {ProposalStatus.OK}
    assert all(proposal.diff for proposal in made)
    assert len({(p.mutation["knob"], p.mutation["value"]) for p in made}) == 7
    first = made[0]
    assert read_recipe(tmp_path / "I1").params == {first.mutation["knob"]: first.mutation["value"]}
    assert first.usage.input_tokens == 0
