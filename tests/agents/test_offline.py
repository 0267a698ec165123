"""The offline researcher: one mutation at a time, no duplicates, spread over families, deterministic, quick."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.catalogue import LIBRARY, catalogue_path, load_catalogue
from agents.families import Families, failure_families
from agents.history import History, worth
from agents.moves import HARM_WEIGHT, adopt_moves, weight
from agents.offline import OfflineResearcher, structural_share
from agents.recipe import Recipe, read_recipe, write_recipe
from nightlab.errors import UsageError
from nightlab.records import IdeaSummary, Passage, Proposal, ProposalContext, ProposalStatus

MakeContext = Callable[..., ProposalContext]
MakeIdea = Callable[..., IdeaSummary]
MakeWorkspace = Callable[[str], Path]
START = {"sense": "sense_raw", "route": "route_straight", "finish": "finish_none"}
PROJECT = Path(__file__).resolve().parents[2]


def summary(name: str, made: Proposal, **changes: object) -> IdeaSummary:
    fields = {
        "idea": name, "parent": "I0", "family": made.family, "mutation": made.mutation, "params": made.params,
        "modules": made.modules, "hypothesis": made.hypothesis, "status": "running", "researcher": "offline",
    }  # fmt: skip
    return IdeaSummary.model_validate({**fields, **changes})


def test_one_mutation_with_its_reasons(catalogue_file: Path, make_context: MakeContext, workspace: Path) -> None:
    researcher = OfflineResearcher(seed=1, catalogue=catalogue_file)
    made = asyncio.run(researcher.propose(make_context()))
    assert made.status is ProposalStatus.OK
    assert set(made.mutation) == {"slot", "module"}
    slot, module = made.mutation["slot"], made.mutation["module"]
    known = load_catalogue(catalogue_file).slots[slot][module]
    assert made.hypothesis == known.hypothesis
    assert made.family in known.families
    assert made.falsified_if
    assert made.parents == ("I0",)
    assert made.modules == {**START, slot: module}
    assert read_recipe(workspace).modules == made.modules
    assert f"- I1: {known.title} ({slot}: {START[slot]} -> {module})" in (workspace / "notes.md").read_text()
    assert f"+from mini.library import {module}" in made.diff
    assert made.usage.input_tokens == 0
    assert made.usage.exact


def test_the_same_seed_and_context_give_the_same_proposal(
    catalogue_file: Path, make_context: MakeContext, make_workspace: MakeWorkspace
) -> None:
    def propose(name: str, seed: int, context_seed: int) -> tuple[object, ...]:
        context = make_context(workspace=str(make_workspace(name)), seed=context_seed)
        made = OfflineResearcher(seed=seed, catalogue=catalogue_file).propose_now(context)
        return made.mutation, made.params, made.hypothesis, made.diff

    assert propose("a", 1, 7) == propose("b", 1, 7)
    others = {str(propose(f"c{seed}", seed, seed)[0]) for seed in range(12)}
    assert len(others) > 3


def test_eight_pending_proposals_differ_and_spread(
    catalogue_file: Path, make_context: MakeContext, make_workspace: MakeWorkspace
) -> None:
    catalogue = load_catalogue(catalogue_file)
    for seed in range(5):
        pending: list[IdeaSummary] = []
        for number in range(1, 9):
            name = f"I{number}"
            context = make_context(*pending, idea=name, workspace=str(make_workspace(f"{seed}-{name}")))
            made = OfflineResearcher(seed=seed, catalogue=catalogue_file).propose_now(context)
            assert made.status is ProposalStatus.OK, made.detail
            pending.append(summary(name, made))
        assert len({Recipe(idea.modules, idea.params).signature(catalogue) for idea in pending}) == 8
        assert all(idea.params.keys() - {"rate_hz"} or idea.modules != START for idea in pending)
        first = [idea.mutation.get("module") for idea in pending[:5]]
        assert None not in first, "with untried modules open and no success yet, structures come first"


def test_never_proposes_what_was_decided(
    catalogue_file: Path, make_context: MakeContext, make_workspace: MakeWorkspace
) -> None:
    catalogue = load_catalogue(catalogue_file)
    decided: list[IdeaSummary] = []
    for number in range(1, 41):
        context = make_context(*decided, idea=f"I{number}", workspace=str(make_workspace(f"w{number}")), seed=number)
        made = OfflineResearcher(seed=3, catalogue=catalogue_file).propose_now(context)
        if made.status is ProposalStatus.NO_CHANGE:
            assert made.detail == "every mutation of I0 has been tried"
            break
        decided.append(summary(f"I{number}", made, status="decided", decision="revert", n=10, mean_score=0.2))
    signatures = Counter(Recipe(idea.modules, idea.params).signature(catalogue) for idea in decided)
    assert max(signatures.values()) == 1
    assert any("swaps" in idea.mutation for idea in decided), "when all single swaps failed, pairs are tried"


def test_a_numeric_proposal_changes_one_knob_within_its_bounds(
    catalogue_file: Path, make_context: MakeContext, workspace: Path, make_idea: MakeIdea, make_workspace: MakeWorkspace
) -> None:
    catalogue = load_catalogue(catalogue_file)
    modules = {"sense": "sense_mean", "route": "route_around", "finish": "finish_slow"}
    text = (workspace / "policy.py").read_text()
    for slot, name in modules.items():
        text = text.replace(START[slot], name)
    incumbent = make_idea("I9", parent=None, modules=modules, status="evaluated", decision=None, n=40, successes=39)
    seen = set()
    for seed in range(40):
        place = make_workspace(f"n{seed}")
        (place / "policy.py").write_text(text)
        context = make_context(incumbent, incumbent="I9", idea="I10", workspace=str(place), seed=seed)
        made = OfflineResearcher(seed=2, catalogue=catalogue_file).propose_now(context)
        if "knob" in made.mutation:
            name, value = made.mutation["knob"], made.mutation["value"]
            knob = made_knob = Recipe(modules).knobs(catalogue)[name][1]
            assert knob.low <= value <= knob.high
            assert made.params == {"rate_hz": 10, name: value}
            assert made.family == "tuning"
            assert made.hypothesis.startswith(f"{name} {made_knob.default:g} -> {value:g} {knob.unit}: ")
            assert isinstance(value, int) or not knob.int
            seen.add(name)
    assert len(seen) >= 2


def test_tpe_learns_from_the_structures_trials(catalogue_file: Path, make_idea: MakeIdea) -> None:
    from agents import knobs

    catalogue = load_catalogue(catalogue_file)
    modules = {"sense": "sense_raw", "route": "route_straight", "finish": "finish_slow"}
    values = [1.5, 3, 4, 5, 6, 9, 11, 13, 15, 17, 19]
    ideas = [
        make_idea(f"I{n}", modules=modules, params={"slow_step_px": v}, mutation={"knob": "slow_step_px"},
                  successes=round(20 * max(0.0, 1 - abs(v - 5) / 8)), n=20, mean_score=0.5)
        for n, v in enumerate(values, 1)
    ]  # fmt: skip
    pending = make_idea("I30", modules=modules, params={"slow_step_px": 5.5}, status="running", decision=None, n=0)
    history = History.of(catalogue, Recipe(modules), "I0", [*ideas, pending])
    found = [knobs.suggest(history, "slow_step_px", seed) for seed in range(9)]
    assert sum(2 <= value <= 10 for value in found) >= 7, found


def test_adopts_what_beat_its_parent_once(
    catalogue_file: Path, make_context: MakeContext, make_idea: MakeIdea, make_workspace: MakeWorkspace
) -> None:
    winner = {**START, "route": "route_around"}
    second = {**START, "finish": "finish_slow"}
    ideas = [
        make_idea("I0", parent=None, modules=START, status="evaluated", decision=None),
        make_idea("I1", modules=winner, mutation={"slot": "route", "module": "route_around"}, decision="keep"),
        make_idea("I2", modules=second, mutation={"slot": "finish", "module": "finish_slow"}, beats_parent=True),
    ]
    adopted = []
    for seed in range(6):
        place = make_workspace(f"a{seed}")
        (place / "policy.py").write_text((place / "policy.py").read_text().replace("route_straight", "route_around"))
        context = make_context(*ideas, incumbent="I1", idea="I3", workspace=str(place), seed=seed)
        made = OfflineResearcher(seed=2, catalogue=catalogue_file).propose_now(context)
        if made.inspired_by:
            adopted.append(made)
    assert len(adopted) >= 4
    made = adopted[0]
    assert made.inspired_by == ("I2",)
    assert made.mutation == {"slot": "finish", "module": "finish_slow", "adopted": "I2"}
    assert made.modules == {**winner, "finish": "finish_slow"}
    assert made.hypothesis.startswith("What helped in I2 helps here too: ")
    ideas.append(summary("I3", made, parent="I1"))
    context = make_context(*ideas, incumbent="I1", idea="I4", workspace=str(place), seed=1)
    assert OfflineResearcher(seed=2, catalogue=catalogue_file).propose_now(context).inspired_by == ()


def test_a_better_rival_in_the_same_slot_that_came_too_late_is_adopted(
    catalogue_file: Path, make_idea: MakeIdea
) -> None:
    catalogue = load_catalogue(catalogue_file)

    def rivals(successes: int) -> list[IdeaSummary]:
        around, field = {**START, "route": "route_around"}, {**START, "route": "route_field"}
        return [
            make_idea("I0", parent=None, modules=START, status="evaluated", decision=None),
            make_idea("I1", modules=around, mutation={"slot": "route", "module": "route_around"}, decision="keep",
                      successes=1),
            make_idea("I2", modules=field, mutation={"slot": "route", "module": "route_field"}, decision="inconclusive",
                      beats_parent=True, successes=successes),
        ]  # fmt: skip

    now = Recipe({**START, "route": "route_around"})
    assert [move.swaps for move in adopt_moves(History.of(catalogue, now, "I1", rivals(4)))] == [
        {"route": "route_field"}
    ]
    assert not list(adopt_moves(History.of(catalogue, now, "I1", rivals(1)))), "it would undo a gain for none"


def test_an_idea_that_was_overtaken_before_it_ran_is_open_again(catalogue_file: Path, make_idea: MakeIdea) -> None:
    catalogue = load_catalogue(catalogue_file)
    swap = {"slot": "finish", "module": "finish_slow"}
    for n, expected in ((0, 1.0), (10, 0.0)):
        ideas = [
            make_idea("I0", parent=None, modules=START, status="evaluated", decision=None, n=20),
            make_idea("I1", modules={**START, "finish": "finish_slow"}, mutation=swap, decision="inconclusive", n=n),
        ]
        assert weight(History.of(catalogue, Recipe(START), "I0", ideas), "finish", "finish_slow") == expected


def test_a_reverted_module_is_open_again_only_beside_other_modules(catalogue_file: Path, make_idea: MakeIdea) -> None:
    catalogue = load_catalogue(catalogue_file)
    swap = {"slot": "finish", "module": "finish_slow"}
    ideas = [
        make_idea("I0", parent=None, modules=START, status="evaluated", decision=None, n=20),
        make_idea("I1", modules={**START, "finish": "finish_slow"}, mutation=swap),
        make_idea("I2", modules={**START, "route": "route_around"}, decision="keep", mean_score=0.6,
                  mutation={"slot": "route", "module": "route_around"}),
    ]  # fmt: skip
    before = History.of(catalogue, Recipe(START), "I0", ideas)
    assert weight(before, "finish", "finish_slow") == 0.0
    after = History.of(catalogue, Recipe({**START, "route": "route_around"}), "I2", ideas)
    once = weight(after, "finish", "finish_slow")
    assert 0.0 < once < 1.0
    assert weight(after, "finish", "finish_tap") == 1.0
    assert weight(after, "route", "route_straight") == 0.0, "what was replaced a moment ago is not tried again"
    again = make_idea(
        "I3", parent="I1", modules={**START, "sense": "sense_mean", "finish": "finish_slow"}, mutation=swap
    )
    assert weight(History.of(catalogue, after.incumbent, "I2", [*ideas, again]), "finish", "finish_slow") < once


def test_slots_in_which_swaps_failed_are_tried_less(catalogue_file: Path, make_idea: MakeIdea) -> None:
    catalogue = load_catalogue(catalogue_file)
    ideas = [
        make_idea("I0", parent=None, modules=START, status="evaluated", decision=None, n=20),
        make_idea("I1", modules={**START, "sense": "sense_mean"}, mutation={"slot": "sense", "module": "sense_mean"}),
        make_idea("I2", modules={**START, "route": "route_field"}, mutation={"slot": "route", "module": "route_field"},
                  status="running", decision=None, n=0),
    ]  # fmt: skip
    means = History.of(catalogue, Recipe(START), "I0", ideas).slot_means()
    assert means["sense"] < means["route"] < means["finish"] == 0.5


def test_old_failures_are_forgotten_as_the_incumbent_rises(catalogue_file: Path, make_idea: MakeIdea) -> None:
    catalogue = load_catalogue(catalogue_file)
    swap = {"slot": "finish", "module": "finish_slow"}

    def again(score: float) -> float:
        ideas = [
            make_idea("I0", parent=None, modules=START, status="evaluated", decision=None, n=20, mean_score=0.2),
            make_idea("I1", modules={**START, "finish": "finish_slow"}, mutation=swap, mean_score=0.0),
            make_idea("I2", modules={**START, "route": "route_around"}, decision="keep", mean_score=score,
                      mutation={"slot": "route", "module": "route_around"}),
        ]  # fmt: skip
        now = Recipe({**START, "route": "route_around"})
        return weight(History.of(catalogue, now, "I2", ideas), "finish", "finish_slow")

    assert again(0.21) < 0.4 < again(0.5) < 0.9 < again(0.9) < 1.0


def test_what_lost_to_a_module_that_was_replaced_stays_unlikely(catalogue_file: Path, make_idea: MakeIdea) -> None:
    catalogue = load_catalogue(catalogue_file)
    ideas = [
        make_idea("I0", parent=None, modules=START, status="evaluated", decision=None, n=20, mean_score=0.2),
        make_idea("I1", modules={**START, "route": "route_field"}, mean_score=0.0,
                  mutation={"slot": "route", "module": "route_field"}),
        make_idea("I2", modules={**START, "finish": "finish_slow"}, mean_score=0.0,
                  mutation={"slot": "finish", "module": "finish_slow"}),
        make_idea("I3", modules={**START, "route": "route_around"}, decision="keep", mean_score=0.9,
                  mutation={"slot": "route", "module": "route_around"}),
        make_idea("I4", parent="I3", modules={**START, "route": "route_around", "sense": "sense_mean"}, decision="keep",
                  mutation={"slot": "sense", "module": "sense_mean"}, mean_score=0.95),
    ]  # fmt: skip
    now = History.of(catalogue, Recipe({**START, "route": "route_around", "sense": "sense_mean"}), "I4", ideas)
    assert weight(now, "route", "route_field") == HARM_WEIGHT, "it was worse than what route_around has replaced"
    assert weight(now, "finish", "finish_slow") > 0.9, "its rival is still there, but much else has changed"


def test_priors_are_uniform_and_evidence_moves_them(make_idea: MakeIdea) -> None:
    names = ("contact", "planning", "precision")
    assert {Families(names, []).mean(name) for name in names} == {0.5}
    ideas = [
        make_idea("I1", family="planning", mutation={"slot": "a", "module": "b"}, decision="keep"),
        make_idea("I2", family="contact", mutation={"slot": "a", "module": "c"}),
        make_idea("I3", family="precision", mutation={"slot": "a", "module": "d"}, status="running", decision=None),
    ]
    learnt = Families(names, ideas)
    assert learnt.mean("contact") < learnt.mean("precision") < 0.5 < learnt.mean("planning")
    passage = Passage(source="x", title="", text="", families=("precision",), relevance=1.0)
    told = Families(
        names,
        [],
        passages=[passage],
        failures={"near_miss": 9, "rotated": 1},
        speaks_for=failure_families("push_t"),
    )
    assert told.mean("contact") == 0.5 < told.mean("precision") <= 0.6
    assert told.favour(["planning"]) == 1.0
    assert told.favour(["contact"]) == pytest.approx(1.3)
    assert told.favour(["precision"]) == pytest.approx(3.7)
    assert told.favour(["precision"], "Near misses become successes") == pytest.approx(4.6)
    forgotten = Families(names, ideas, relevance={"I1": 0.0, "I2": 0.1})
    assert forgotten.mean("planning") == 0.5
    assert 0.45 < forgotten.mean("contact") < 0.5


def test_worth_of_decisions(make_idea: MakeIdea) -> None:
    parent = make_idea("I0", parent=None, n=20, mean_score=0.5)
    assert worth(make_idea("I1", decision="keep"), parent) == 1.0
    assert worth(make_idea("I1", beats_parent=True), parent) == 0.75
    assert worth(make_idea("I1", decision="inconclusive"), parent) == 0.15
    assert worth(make_idea("I1", mean_score=0.49), parent) == 0.05
    assert worth(make_idea("I1", mean_score=0.1), parent) == 0.0
    assert worth(make_idea("I1", status="crashed", decision=None), parent) == 0.0
    assert worth(make_idea("I1", status="running", decision=None), parent) is None


def test_knobs_get_more_of_the_budget_as_structures_run_out(catalogue_file: Path, make_idea: MakeIdea) -> None:
    catalogue = load_catalogue(catalogue_file)

    def share(success: float, tried: int) -> float:
        all_swaps = [(slot, name) for slot, name, _ in catalogue if START[slot] != name][:tried]
        ideas = [
            make_idea(f"I{n}", modules={**START, slot: name}, mutation={"slot": slot, "module": name})
            for n, (slot, name) in enumerate(all_swaps, 1)
        ]
        history = History.of(catalogue, Recipe(START), "I0", ideas)
        history.success = success
        return structural_share(history)

    assert share(0.0, 0) == pytest.approx(0.95)
    assert share(0.5, 0) == pytest.approx(0.9)
    assert share(1.0, 0) == pytest.approx(0.85)
    assert share(0.5, 5) == pytest.approx(0.2)


def test_cites_the_passages_of_its_families(catalogue_file: Path, make_context: MakeContext) -> None:
    families = load_catalogue(catalogue_file).families
    passages = [
        Passage(source=f"s{n}", title="", text="", families=families, relevance=relevance)
        for n, relevance in enumerate((0.2, 1.0, 0.5))
    ]
    made = OfflineResearcher(seed=1, catalogue=catalogue_file).propose_now(make_context(passages=passages))
    assert made.sources == ("s1", "s2")


def test_a_rewritten_policy_is_no_recipe(catalogue_file: Path, make_context: MakeContext, workspace: Path) -> None:
    (workspace / "policy.py").write_text("def make_policy(checkpoint): ...\n")
    made = OfflineResearcher(seed=1, catalogue=catalogue_file).propose_now(make_context())
    assert made.status is ProposalStatus.NO_CHANGE
    assert made.detail.startswith("the incumbent I0 is not a recipe: policy.py has no MODULES dict")


def test_an_environment_without_a_catalogue(make_context: MakeContext) -> None:
    with pytest.raises(UsageError, match=r"unknown environment 'mini'; there are: .*push_t"):
        OfflineResearcher(seed=1).propose_now(make_context())


def test_every_module_of_push_t_can_be_swapped_in(make_workspace: MakeWorkspace) -> None:
    catalogue = load_catalogue(catalogue_path("push_t"))
    place = make_workspace("p")
    for name in ("policy.py", "params.yaml"):
        (place / name).write_text((PROJECT / "research" / "push_t" / name).read_text())
    start = read_recipe(place)
    assert set(start.modules) == set(catalogue.slots)
    for slot, name, _ in catalogue:
        assert (LIBRARY / "push_t" / f"{name}.py").is_file()
        write_recipe(place, start.swapped(catalogue, slot, name))
        assert read_recipe(place).modules == {**start.modules, slot: name}
    assert all(module.falsified_if and module.expected_effect for _, _, module in catalogue)


def test_proposals_are_quick(make_context: MakeContext, make_workspace: MakeWorkspace) -> None:
    decided: list[IdeaSummary] = []
    slow = []
    for number in range(1, 26):
        place = make_workspace(f"q{number}")
        for name in ("policy.py", "params.yaml"):
            (place / name).write_text((PROJECT / "research" / "push_t" / name).read_text())
        context = make_context(*decided, environment="push_t", idea=f"I{number}", workspace=str(place), seed=number)
        begin_s = time.perf_counter()
        made = OfflineResearcher(seed=3).propose_now(context)
        if number > 3 and "knob" not in made.mutation:
            slow.append(time.perf_counter() - begin_s)
        decided.append(summary(f"I{number}", made, status="decided", decision="revert", n=10, mean_score=0.2))
    assert max(slow) < 0.3, max(slow)


def test_a_policy_that_succeeds_slowly_is_short_of_time(make_context: MakeContext, make_idea: MakeIdea) -> None:
    from agents.offline import _pressure

    hopeless = make_idea("I1", mean_steps=300.0)
    slow = make_idea("I9", parent=None, n=20, successes=12, mean_steps=230.0)
    fast = make_idea("I9", parent=None, n=20, successes=12, mean_steps=120.0)
    failures = {"missed_goal": 5, "rotated": 1}
    told = {"incumbent": "I9", "failure_histogram": failures}
    assert _pressure(make_context(hopeless, slow, **told)) == {"out_of_time": 6}
    assert _pressure(make_context(hopeless, fast, **told)) == {}
    assert _pressure(make_context(slow, **told)) == {}
