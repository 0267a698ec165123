"""The offline researcher on pin insertion: it edits the real template, by the real catalogue, and says why."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

from agents.catalogue import catalogue_path, load_catalogue
from agents.families import failure_families
from agents.literature import Literature
from agents.offline import OfflineResearcher
from agents.recipe import read_recipe
from nightlab import cards
from nightlab.records import ProposalContext, ProposalStatus


@pytest.fixture
def pin_workspace(tmp_path: Path) -> Path:
    workspace = tmp_path / "I1"
    shutil.copytree(cards.template("pin_insertion"), workspace, ignore=shutil.ignore_patterns("__pycache__"))
    return workspace


def pin_context(workspace: Path, seed: int) -> ProposalContext:
    failures = {"at_the_rim": 14, "beside_hole": 6}
    goal = cards.card("pin_insertion").goal
    return ProposalContext(
        campaign="C1", environment="pin_insertion", goal=goal, idea="I1", incumbent="I0", workspace=str(workspace),
        ideas=(), passages=tuple(Literature.of("pin_insertion").search(goal, failures)),
        failure_histogram=failures, seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_it_edits_the_pin_template_so_that_it_still_loads(pin_workspace: Path, seed: int) -> None:
    before = read_recipe(pin_workspace)
    made = OfflineResearcher(seed=seed).propose_now(pin_context(pin_workspace, seed))
    assert made.status is ProposalStatus.OK
    after = read_recipe(pin_workspace)
    assert (dict(after.modules), dict(after.params)) != (dict(before.modules), dict(before.params))
    assert dict(after.modules) == dict(made.modules)
    assert made.hypothesis
    assert made.falsified_if
    loaded = runpy.run_path(str(pin_workspace / "policy.py"))
    policy = loaded["make_policy"](pin_workspace)
    assert callable(policy.act)


def test_every_pin_family_has_literature_and_every_failure_speaks_for_known_families() -> None:
    families = set(load_catalogue(catalogue_path("pin_insertion")).families)
    cited = {family for entry in Literature.of("pin_insertion").references for family in entry.families}
    assert families <= cited, families - cited
    spoken = failure_families("pin_insertion")
    for failure in cards.card("pin_insertion").failures:
        assert set(spoken[failure]) <= families | {"learning", "latency", "lookahead"}, failure


def test_passages_for_a_pin_at_the_rim_speak_of_searching() -> None:
    found = Literature.of("pin_insertion").search(cards.card("pin_insertion").goal, {"at_the_rim": 10})
    assert any("search" in passage.families for passage in found)


def test_the_literature_of_insertion_is_not_for_other_environments() -> None:
    pushing = {entry.id for entry in Literature.of("push_t").references}
    inserting = {entry.id for entry in Literature.of("pin_insertion").references}
    assert pushing < inserting
