"""The literature index: at least 30 entries in our own words, found by goal and by failure."""

from __future__ import annotations

import re
import time

from agents.catalogue import catalogue_path, load_catalogue
from agents.families import failure_families
from agents.literature import FAILURE_WORDS, Literature

GOAL = "push the T block onto its goal with a single pusher"


def test_the_bibliography_is_complete() -> None:
    entries = Literature.load().references
    assert len(entries) >= 30
    assert len({entry.id for entry in entries}) == len(entries)
    assert all(re.match(r"(arXiv:\d{4}\.\d{4,5}|doi:10\..+|[a-z0-9-]+)$", entry.id) for entry in entries)
    assert all(1950 <= entry.year <= 2026 and len(entry.note) > 80 for entry in entries)


def test_every_family_of_the_catalogue_has_literature() -> None:
    cited = {family for entry in Literature.load().references for family in entry.families}
    families = set(load_catalogue(catalogue_path("push_t")).families)
    assert families <= cited, families - cited
    assert {name for names in failure_families("push_t").values() for name in names} <= cited


def test_passages_fit_the_goal_and_are_ranked() -> None:
    found = Literature.load().search(GOAL, {}, k=6)
    assert len(found) == 6
    assert found[0].relevance == 1.0
    assert [passage.relevance for passage in found] == sorted((p.relevance for p in found), reverse=True)
    assert all(passage.source and passage.title and passage.text and passage.families for passage in found)


def test_failures_change_what_is_found() -> None:
    index = Literature.of("push_t")
    near = index.search(GOAL, {"near_miss": 10}, k=6)
    stuck = index.search(GOAL, {"never_moved": 10}, k=6)
    assert {passage.source for passage in near} != {passage.source for passage in stuck}
    assert any("precision" in passage.families for passage in near)
    assert any("planning" in passage.families for passage in stuck)


def test_unknown_failures_odd_goals_and_nothing_at_all() -> None:
    index = Literature.load()
    assert index.search('"; DROP TABLE note; -- * OR NEAR(', {"odd_new_reason": 2}, k=3) is not None
    assert index.search("", {}, k=3) == []
    assert index.search("the of a", {"x": 0}, k=3) == []


def test_search_is_quick() -> None:
    index = Literature.load()
    begin_s = time.perf_counter()
    for _ in range(20):
        index.search(GOAL, dict.fromkeys(FAILURE_WORDS, 3), k=6)
    assert (time.perf_counter() - begin_s) / 20 < 0.05
