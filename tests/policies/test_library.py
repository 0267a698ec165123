"""The module library of Push-T: what the catalogue promises, and that the way from failing to good exists."""

import importlib
import re
from pathlib import Path

import pytest
import yaml

from benchmarks.push_t_ladder import BASELINE, make_policy, run_episode, run_many, summary
from policies.library.pipeline import SLOTS
from policies.library.push_t.pipeline import PATIENCE_STEPS
from robots.profiles import load_profile
from robots.worlds.push_t import PushTWorld

LIBRARY = Path("policies/library/push_t")
CATALOGUE = yaml.safe_load((LIBRARY / "catalogue.yaml").read_text())
SLOTTED = CATALOGUE.get("slots", CATALOGUE)
MODULES = {name: entry for entries in SLOTTED.values() for name, entry in entries.items()}
GOOD = {"choose": "choose_twist", "drive": "drive_ahead", "endgame": "endgame_fine", "pause": "pause_none"}


def successes(changes: dict[str, str], seeds: range, profile: str = "nominal") -> int:
    world = PushTWorld(load_profile(profile), 5)
    policy = make_policy(dict(BASELINE) | changes, {})
    return sum(run_episode(world, policy, seed).success for seed in seeds)


def test_catalogue_has_the_pipelines_slots() -> None:
    assert set(SLOTTED) == set(SLOTS)
    assert len(MODULES) >= 18


@pytest.mark.parametrize("name", MODULES)
def test_each_module_is_one_file_with_knobs_in_their_bounds(name: str) -> None:
    entry = MODULES[name]
    module = importlib.import_module(f"policies.library.push_t.{name}")
    assert module.__doc__
    knobs = entry.get("knobs") or {}
    for knob, bounds in knobs.items():
        assert bounds["low"] <= bounds["default"] <= bounds["high"], f"{name}.{knob}"
        assert bounds["unit"], f"{name}.{knob} has no unit"
    made = module.make({knob: bounds["default"] for knob, bounds in knobs.items()})
    assert made is not None
    for word in ("title", "hypothesis", "falsified_if", "expected_effect", "families"):
        assert entry[word], f"{name} has no {word}"


@pytest.mark.parametrize("name", MODULES)
def test_no_entry_names_another_module(name: str) -> None:
    entry = MODULES[name]
    told = " ".join(str(entry[word]) for word in ("title", "hypothesis", "falsified_if", "expected_effect"))
    for other in MODULES:
        assert not re.search(rf"\b{other}\b", told), f"{name} names {other}"


def test_template_starts_from_the_baseline() -> None:
    text = Path("research/push_t/policy.py").read_text()
    for slot, module in BASELINE.items():
        assert f'"{slot}": {module}' in text


def test_baseline_never_succeeds() -> None:
    assert successes({}, range(30_000, 30_020)) == 0


def test_a_good_recipe_exists() -> None:
    assert successes(GOOD, range(30_000, 30_012)) >= 11


@pytest.mark.parametrize(
    ("slot", "module"),
    [
        ("choose", "choose_longest_lever"),
        ("route", "route_straight"),
        ("recover", "recover_harder"),
        ("endgame", "endgame_early"),
    ],
)
def test_plausible_modules_do_harm(slot: str, module: str) -> None:
    assert successes(GOOD | {slot: module}, range(30_000, 30_006)) <= 4


def test_lag_compensation_pays_on_sluggish_stations() -> None:
    stop, ahead = (
        summary(run_many(dict(BASELINE) | GOOD | {"drive": drive}, {}, range(40_000, 40_030), "real", range(100, 115)))
        for drive in ("drive_stop", "drive_ahead")
    )
    assert ahead["success"] > stop["success"] + 0.1, (stop, ahead)
    assert ahead["steps"] < stop["steps"], (stop, ahead)


class Asked(dict[str, float]):
    """Params that note which knobs a module asks for, and with which default."""

    def get(self, key: str, default: float | None = None) -> float:  # type: ignore[override]
        assert default is not None
        self[key] = default
        return default


@pytest.mark.parametrize("name", MODULES)
def test_the_catalogues_defaults_are_the_modules(name: str) -> None:
    asked = Asked()
    importlib.import_module(f"policies.library.push_t.{name}").make(asked)
    asked["patience_steps"] = PATIENCE_STEPS  # the pipeline's own
    for knob, bounds in (MODULES[name].get("knobs") or {}).items():
        assert asked[knob] == bounds["default"], knob
