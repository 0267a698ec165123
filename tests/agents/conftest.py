"""A small catalogue and template: three slots, eight modules, knobs of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nightlab.records import IdeaSummary, ProposalContext

CATALOGUE = """
sense:
  sense_raw: {title: Sensor as it is, hypothesis: The sensor is good enough., families: [estimation]}
  sense_mean:
    title: Mean of the last poses
    hypothesis: Averaging removes noise.
    falsified_if: score does not rise
    expected_effect: +5 points
    families: [estimation, robustness]
    knobs: {window_steps: {low: 1, high: 9, default: 3, int: true, unit: steps}}
route:
  route_straight: {title: Straight line, hypothesis: Straight is shortest., families: [planning]}
  route_around:
    title: Around the block
    hypothesis: A path around the block reaches the contact side.
    falsified_if: never_moved does not fall
    families: [planning]
    knobs: {margin_px: {low: 2, high: 40, default: 10, log: true, unit: px}}
  route_field: {title: Potential field, hypothesis: Repulsion avoids the block., families: [planning, tracking]}
finish:
  finish_none: {title: No fine phase, hypothesis: Not needed., families: [precision]}
  finish_slow:
    title: Slow near the goal
    hypothesis: Small steps overshoot less.
    families: [precision]
    knobs:
      slow_step_px: {low: 1, high: 20, default: 8, unit: px}
      margin_px: {low: 2, high: 40, default: 10, log: true, unit: px}
  finish_tap: {title: Tapping, hypothesis: Short taps correct little errors., families: [precision, recovery]}
"""

POLICY = '''"""Template."""
from pathlib import Path

from mini.library import finish_none
from mini.library import route_straight
from mini.library import sense_raw

# sense_raw is only where we begin
MODULES = {
    "sense": sense_raw,  # é
    "route": route_straight,
    "finish": finish_none,
}


def make_policy(checkpoint: Path) -> object:
    return MODULES
'''

FILES = {
    "policy.py": POLICY,
    "train.py": "print('nothing to train')\n",
    "params.yaml": "# knobs\nrate_hz: 10  # fixed\n",
    "notes.md": "# Notes\n",
}


@pytest.fixture
def catalogue_file(tmp_path: Path) -> Path:
    path = tmp_path / "library" / "catalogue.yaml"
    path.parent.mkdir()
    path.write_text(CATALOGUE)
    return path


@pytest.fixture
def make_workspace(tmp_path: Path) -> Callable[[str], Path]:
    """A fresh copy of the template under a name."""

    def make(name: str = "I1") -> Path:
        workspace = tmp_path / "worktrees" / name
        workspace.mkdir(parents=True)
        for file, text in FILES.items():
            (workspace / file).write_text(text)
        return workspace

    return make


@pytest.fixture
def workspace(make_workspace: Callable[[str], Path]) -> Path:
    return make_workspace("I1")


@pytest.fixture
def make_context(workspace: Path) -> Callable[..., ProposalContext]:
    """A context over the template's workspace; keywords override."""

    def make(*ideas: IdeaSummary, **overrides: object) -> ProposalContext:
        fields: dict[str, object] = {
            "campaign": "C1",
            "environment": "mini",
            "goal": "push the block",
            "idea": "I1",
            "incumbent": "I0",
            "workspace": str(workspace),
            "ideas": ideas,
            "seed": 5,
        }
        return ProposalContext.model_validate({**fields, **overrides})

    return make


@pytest.fixture
def make_idea() -> Callable[..., IdeaSummary]:
    """An idea as the ledger tells it; keywords override."""

    def make(idea: str, **overrides: object) -> IdeaSummary:
        fields: dict[str, object] = {
            "idea": idea,
            "parent": "I0",
            "family": "planning",
            "mutation": {},
            "modules": {},
            "hypothesis": "",
            "status": "decided",
            "decision": "revert",
            "n": 10,
            "successes": 0,
            "mean_score": 0.2,
            "researcher": "offline",
        }
        return IdeaSummary.model_validate({**fields, **overrides})

    return make
