"""`nightlab environment list` and `show`, the cards of this project's environments, and their index in the docs."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from commands.environment_list import row, table
from commands.environment_show import about, lines
from commands.main import app
from environments import REGISTRY
from nightlab import cards
from nightlab.errors import UsageError

PROJECT = Path(__file__).resolve().parents[2]


def call(*words: str) -> int:
    try:
        app(words)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_each_registered_environment_has_a_card_and_each_card_is_registered() -> None:
    assert sorted(REGISTRY) == sorted(
        path.parent.name for path in (PROJECT / "environments").glob("*/environment.yaml")
    )


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_card_says_what_the_code_says(name: str) -> None:
    spec, card = importlib.import_module(f"environments.{name}.spec"), cards.card(name)
    assert card.name == spec.NAME == name
    assert card.rate_hz == spec.RATE_HZ
    assert list(card.failures) == list(spec.FAILURE_REASONS), "in the same order"
    for part in ("environment", "limits", "reset", "spec", "start", "verify"):
        assert (cards.folder(name) / f"{part}.py").is_file(), f"{name} lacks {part}.py"
    readme = (cards.folder(name) / "README.md").read_text()
    assert f"({card.picture})" in readme, "a README with a picture"
    assert (cards.folder(name) / card.picture).stat().st_size < 300_000


def test_the_list_names_world_goal_and_whether_it_is_frozen(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("environment", "list", "--json") == 0
    rows = {found["name"]: found for found in json.loads(capsys.readouterr().out)}
    assert set(REGISTRY) <= set(rows)
    assert rows["push_t"]["world"] == "push_t"
    assert rows["pin_insertion"]["world"] == "yam_bench"
    assert rows["pin_insertion"]["rate_hz"] == 20
    assert row("push_t")["frozen"] == bool(row("push_t")["manifest_sha256"])
    assert call("environment", "list") == 0
    said = capsys.readouterr().out
    assert "docs/new_environment.md" in said
    assert "yam_bench" in said


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_show_is_the_contract_on_one_screen(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("environment", "show", name, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    told = dict(lines(found))
    assert told["success"] == cards.card(name).success
    assert f"at most {found['max_steps']} steps" in told["episode"]
    assert all(f"{reason}: " in told["failures"] for reason in cards.card(name).failures)
    assert all(f"{slot}: " in told["modules"] for slot in about(name)["slots"])
    assert set(found["limits"]["action_low"]) == {line.partition(" ")[0] for line in told["limits"].splitlines()}


def test_an_unknown_environment_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("environment", "show", "juggling") == 2
    said = capsys.readouterr().err
    assert "unknown environment 'juggling'; there are: " in said
    assert "Try: nightlab environment list" in said


def test_the_index_in_the_docs_is_that_of_the_cards() -> None:
    """After a change of a card: nightlab environment list --markdown, into docs/environments.md."""
    assert table(sorted(REGISTRY)) in (PROJECT / "docs" / "environments.md").read_text()


def test_a_card_of_another_name_is_refused(tmp_path: Path) -> None:
    text = (cards.folder("push_t") / cards.CARD).read_text()
    (tmp_path / "environment.yaml").write_text(text)
    with pytest.raises(
        UsageError, match="says name: push_t, but the environment is registered as 'other'; make them one"
    ):
        cards._read("other", tmp_path / "environment.yaml", 0)
