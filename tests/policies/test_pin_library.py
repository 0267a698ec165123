"""The module library of pin insertion: what the catalogue promises, and that the way from failing to good exists."""

import importlib
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks.pin_insertion_ladder import BASELINE, run_many
from benchmarks.pin_insertion_rungs import rungs
from benchmarks.reference.pin_insertion import policy as reference
from policies.library.pin_insertion.pipeline import PATIENCE_TICKS, SLOTS
from robots.profiles import load_profile
from robots.worlds import make_world

LIBRARY = Path("policies/library/pin_insertion")
SLOTTED = yaml.safe_load((LIBRARY / "catalogue.yaml").read_text())
MODULES = {name: entry for entries in SLOTTED.values() for name, entry in entries.items()}
GOOD = {
    "sense": "sense_latest", "approach": "approach_above", "correct": "correct_lateral", "search": "search_spiral",
    "press": "press_servo", "comply": "comply_phase", "insert": "insert_follow", "guard": "guard_yield",
    "recover": "recover_again",
}  # fmt: skip
KNOBS = {"search_N_per_m": 2000.0, "servo_N": 2.0}


def successes(changes: dict[str, str], seeds: range) -> int:
    return sum(episode.success for episode in run_many(BASELINE | changes, KNOBS, seeds, "nominal", (5,)))


def test_pin_catalogue_has_the_pipelines_slots() -> None:
    assert set(SLOTTED) == set(SLOTS)
    assert len(MODULES) >= 12
    for slot, entries in SLOTTED.items():
        assert all(name.startswith(f"{slot}_") for name in entries)
        assert BASELINE[slot] in entries


@pytest.mark.parametrize("name", MODULES)
def test_each_pin_module_is_one_file_with_knobs_in_their_bounds(name: str) -> None:
    entry = MODULES[name]
    module = importlib.import_module(f"policies.library.pin_insertion.{name}")
    assert module.__doc__
    knobs = entry.get("knobs") or {}
    for knob, bounds in knobs.items():
        assert bounds["low"] <= bounds["default"] <= bounds["high"], f"{name}.{knob}"
        assert bounds["unit"], f"{name}.{knob} has no unit"
        told = re.search(rf'"{knob}", ([0-9.]+|PIN_LENGTH_M)', (LIBRARY / f"{name}.py").read_text())
        assert told, f"{name} does not read {knob}"
        if told[1] != "PIN_LENGTH_M":
            assert float(told[1]) == bounds["default"], f"{name}.{knob}: default in the catalogue differs"
    made = module.make({knob: bounds["default"] for knob, bounds in knobs.items()})
    assert made is not None
    for word in ("title", "hypothesis", "falsified_if", "expected_effect", "families"):
        assert entry[word], f"{name} has no {word}"


def test_every_pin_module_is_in_the_catalogue() -> None:
    files = {path.stem for path in LIBRARY.glob("*_*.py")} - {"__init__"}
    assert files == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_no_pin_entry_names_another_module(name: str) -> None:
    entry = MODULES[name]
    told = " ".join(str(entry[word]) for word in ("title", "hypothesis", "falsified_if", "expected_effect"))
    for other in MODULES:
        assert not re.search(rf"\b{other}\b", told), f"{name} names {other}"


def test_pin_template_starts_from_the_baseline() -> None:
    text = Path("research/pin_insertion/policy.py").read_text()
    for slot, module in BASELINE.items():
        assert f'"{slot}": {module}' in text


def test_the_ladder_leads_from_the_template_to_the_reference_policy() -> None:
    steps = [recipe for _, recipe in rungs()]
    assert steps[0] == (BASELINE, {})
    named = {slot: module.__name__.rpartition(".")[2] for slot, module in reference.MODULES.items()}
    knobs = yaml.safe_load(Path("benchmarks/reference/pin_insertion/params.yaml").read_text())
    assert steps[-1] == (named, knobs)
    assert all(one != other for one, other in itertools.pairwise(steps))


def test_pin_baseline_never_succeeds() -> None:
    assert successes({}, range(30_000, 30_003)) == 0


def test_a_good_pin_recipe_exists() -> None:
    assert successes(GOOD, range(30_000, 30_006)) >= 5


def test_a_policy_whose_hand_is_stuck_gives_up() -> None:
    policy = reference.make_policy(Path("benchmarks/reference/pin_insertion"))
    policy.reset(None, 0)
    bench = make_world("yam_bench", load_profile("nominal", "yam_bench"), 1)
    seen = {key: np.asarray(value) for key, value in bench.observe().items()}
    lasted = next(tick for tick in range(400) if policy.act(seen) is None)
    assert lasted == PATIENCE_TICKS, "an observation that never changes"
