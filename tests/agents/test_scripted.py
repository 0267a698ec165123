"""The scripted researcher replays patches, with declared costs and thinking times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents import make_researcher
from agents.scripted import ScriptedResearcher, ordinal
from nightlab.errors import UsageError
from nightlab.records import IdeaSummary, Proposal, ProposalContext, ProposalStatus

Make = Callable[..., ProposalContext]
SCRIPT = """
name: replay
ideas:
  - hypothesis: faster
    family: tuning
    files: {params.yaml: "rate_hz: 12\\n"}
    usage: {input_tokens: 1200, cached_tokens: 800, output_tokens: 90, source: script}
  - edits: [{path: policy.py, old: '"sense": sense_raw', new: '"sense": route_straight'}]
    think_s: 0.2
  - edits: [{path: policy.py, old: nowhere, new: x}]
  - files: {params.yaml: "# knobs\\nrate_hz: 10  # fixed\\n"}
  - status: rate_limited
  - files: {verify.py: "x"}
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.yaml"
    path.write_text(SCRIPT)
    return path


def replay(script: Path, context: ProposalContext) -> Proposal:
    return asyncio.run(make_researcher(f"scripted:{script}", seed=1).propose(context))


def test_files_with_declared_tokens(script: Path, make_context: Make, workspace: Path) -> None:
    made = replay(script, make_context(idea="I1"))
    assert (made.status, made.researcher, made.hypothesis) == (ProposalStatus.OK, "replay", "faster")
    assert (made.usage.input_tokens, made.usage.cached_tokens, made.usage.output_tokens) == (1200, 800, 90)
    assert made.usage.cost_usd is None
    assert made.params == {"rate_hz": 12}
    assert made.mutation == {"script": 0}
    assert "+rate_hz: 12" in made.diff
    assert (workspace / "params.yaml").read_text() == "rate_hz: 12\n"


def test_edits_and_thinking_time(script: Path, make_context: Make) -> None:
    begin_s = time.perf_counter()
    made = replay(script, make_context(idea="I2"))
    assert time.perf_counter() - begin_s >= 0.2
    assert made.modules["sense"] == "route_straight"


@pytest.mark.parametrize(
    ("idea", "status", "detail"),
    [
        ("I3", ProposalStatus.CRASH, "the script's edit of policy.py fits 0 places, not 1: 'nowhere'"),
        ("I4", ProposalStatus.NO_CHANGE, "the patch changes nothing on this parent"),
        ("I5", ProposalStatus.RATE_LIMITED, ""),
        ("I6", ProposalStatus.CRASH, "the script edits 'verify.py'; a researcher may edit policy.py, train.py"),
        ("I7", ProposalStatus.NO_CHANGE, "the script has 6 ideas and all have been proposed"),
    ],
)
def test_what_is_no_proposal(script: Path, make_context: Make, idea: str, status: ProposalStatus, detail: str) -> None:
    made = replay(script, make_context(idea=idea))
    assert made.status is status
    assert made.detail.startswith(detail)
    assert made.diff == ""


def test_repeats_if_told_so(script: Path, make_context: Make) -> None:
    script.write_text(f"repeat: true\n{SCRIPT}")
    assert replay(script, make_context(idea="I7")).hypothesis == "faster"


def test_a_later_campaign_begins_with_the_first_idea(make_idea: Callable[..., IdeaSummary]) -> None:
    baseline = make_idea("I30", parent=None, status="evaluated", decision=None)
    assert ordinal("I31", (baseline,)) == 0
    assert ordinal("I33", (baseline, make_idea("I31", parent="I30"))) == 2
    assert ordinal("I1", ()) == 0


def test_lognormal_thinking_is_the_same_for_the_same_idea(script: Path) -> None:
    script.write_text("think_s: {median: 40, sigma: 0.6}\nideas: [{hypothesis: a}]\n")
    researcher = ScriptedResearcher.load(script, seed=4)
    times = [researcher._think_s(researcher.script.ideas[0], f"I{n}") for n in range(200)]
    assert times[0] == ScriptedResearcher.load(script, seed=4)._think_s(researcher.script.ideas[0], "I0")
    assert 30 < sorted(times)[100] < 50
    assert min(times) < 25 < 60 < max(times)


def test_a_script_that_breaks_the_format(script: Path) -> None:
    script.write_text("ideas: [{hypothesis: a, colour: red}]")
    with pytest.raises(UsageError, match=r"script.yaml is not a script of ideas: ideas.0.colour: Extra inputs"):
        ScriptedResearcher.load(script)
    script.write_text("{")
    with pytest.raises(UsageError, match=r"script.yaml is not a script of ideas: script.yaml is not readable YAML"):
        ScriptedResearcher.load(script)
