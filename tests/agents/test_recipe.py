"""A recipe is read by AST and written as the smallest edit; bad workspaces are told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.catalogue import Catalogue, load_catalogue
from agents.recipe import Recipe, peek_recipe, read_recipe, write_recipe
from agents.workspace import WorkspaceError, diff, load_yaml, snapshot
from nightlab.errors import UsageError


@pytest.fixture
def catalogue(catalogue_file: Path) -> Catalogue:
    return load_catalogue(catalogue_file)


def test_reads_modules_and_params_of_the_template(workspace: Path) -> None:
    recipe = read_recipe(workspace)
    assert dict(recipe.modules) == {"sense": "sense_raw", "route": "route_straight", "finish": "finish_none"}
    assert dict(recipe.params) == {"rate_hz": 10}


def test_a_swap_changes_two_lines_and_no_comment(workspace: Path, catalogue: Catalogue) -> None:
    before = snapshot(workspace)
    write_recipe(workspace, read_recipe(workspace).swapped(catalogue, "sense", "sense_mean"))
    changed = [
        line for line in diff(before, snapshot(workspace)).splitlines() if line[0] in "+-" and line[1:3] != line[:2]
    ]
    assert changed == [
        "-from mini.library import sense_raw",
        "+from mini.library import sense_mean",
        '-    "sense": sense_raw,  # é',
        '+    "sense": sense_mean,  # é',
    ]
    assert read_recipe(workspace).modules["sense"] == "sense_mean"


def test_a_swap_in_an_import_of_many_names(workspace: Path, catalogue: Catalogue) -> None:
    text = "from mini.library import (\n    finish_none,\n    route_straight,\n    sense_raw,\n)\nMODULES = {\n"
    text += '    "sense": sense_raw,\n    "route": route_straight,\n    "finish": finish_none,\n}\n'
    (workspace / "policy.py").write_text(text)
    write_recipe(workspace, read_recipe(workspace).swapped(catalogue, "route", "route_around"))
    assert (workspace / "policy.py").read_text() == text.replace("route_straight", "route_around")


def test_params_are_changed_added_and_removed_line_by_line(workspace: Path, catalogue: Catalogue) -> None:
    recipe = read_recipe(workspace).swapped(catalogue, "route", "route_around").tuned("margin_px", 4.5)
    write_recipe(workspace, recipe)
    assert (workspace / "params.yaml").read_text() == "# knobs\nrate_hz: 10  # fixed\nmargin_px: 4.5\n"
    write_recipe(workspace, recipe.tuned("rate_hz", 12))
    assert (workspace / "params.yaml").read_text() == "# knobs\nrate_hz: 12  # fixed\nmargin_px: 4.5\n"
    back = read_recipe(workspace).swapped(catalogue, "route", "route_straight")
    write_recipe(workspace, back)
    assert (workspace / "params.yaml").read_text() == "# knobs\nrate_hz: 12  # fixed\n"


def test_empty_params_may_be_written_as_braces(workspace: Path, catalogue: Catalogue) -> None:
    (workspace / "params.yaml").write_text("{}\n")
    recipe = read_recipe(workspace).swapped(catalogue, "route", "route_around").tuned("margin_px", 4)
    write_recipe(workspace, recipe)
    assert (workspace / "params.yaml").read_text() == "margin_px: 4\n"
    write_recipe(workspace, Recipe(recipe.modules, {}))
    assert (workspace / "params.yaml").read_text() == "{}\n"


def test_params_in_another_form_are_written_anew(workspace: Path) -> None:
    (workspace / "params.yaml").write_text("{rate_hz: 10, other: 2}\n")
    write_recipe(workspace, read_recipe(workspace).tuned("rate_hz", 11))
    assert (workspace / "params.yaml").read_text() == "other: 2\nrate_hz: 11\n"


def test_a_knob_that_two_modules_share_survives_the_swap_of_one(catalogue: Catalogue) -> None:
    both = Recipe({"sense": "sense_raw", "route": "route_around", "finish": "finish_slow"}, {"margin_px": 7})
    assert both.swapped(catalogue, "route", "route_field").params == {"margin_px": 7}
    assert both.swapped(catalogue, "finish", "finish_tap").swapped(catalogue, "route", "route_field").params == {}


def test_signature_ignores_defaults_written_out(catalogue: Catalogue) -> None:
    modules = {"sense": "sense_raw", "route": "route_around", "finish": "finish_none"}
    plain, explicit, other = Recipe(modules), Recipe(modules, {"margin_px": 10}), Recipe(modules, {"margin_px": 11})
    assert plain.signature(catalogue) == explicit.signature(catalogue)
    assert plain.signature(catalogue) != other.signature(catalogue)
    assert plain.signature(catalogue) != Recipe(modules, {"rate_hz": 9}).signature(catalogue)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make_policy(): ...", "policy.py has no MODULES dict"),
        ("MODULES = {", "policy.py is not readable Python"),
        ("x = " + "(" * 5000, "policy.py is not readable Python"),
    ],
)
def test_unreadable_policies(workspace: Path, text: str, message: str) -> None:
    (workspace / "policy.py").write_text(text)
    with pytest.raises(WorkspaceError, match=message):
        read_recipe(workspace)
    assert peek_recipe(workspace).modules == {}


def test_a_module_without_an_import_is_told(workspace: Path, catalogue: Catalogue) -> None:
    text = (workspace / "policy.py").read_text().replace("from mini.library import sense_raw\n", "")
    (workspace / "policy.py").write_text(text)
    with pytest.raises(WorkspaceError, match=r"policy.py uses 'sense_raw' in MODULES but no import line binds it"):
        write_recipe(workspace, read_recipe(workspace).swapped(catalogue, "sense", "sense_mean"))


def test_links_large_files_and_aliases_are_refused(workspace: Path) -> None:
    (workspace / "params.yaml").write_text("a: &a [1]\nb: [*a, *a]\n")
    with pytest.raises(WorkspaceError, match=r"params.yaml uses YAML aliases"):
        read_recipe(workspace)
    (workspace / "params.yaml").write_text("#" * 300_000)
    with pytest.raises(WorkspaceError, match=r"params.yaml is larger than 262144 bytes"):
        read_recipe(workspace)
    (workspace / "params.yaml").unlink()
    (workspace / "params.yaml").symlink_to("/etc/hostname")
    with pytest.raises(WorkspaceError, match=r"cannot read params.yaml"):
        read_recipe(workspace)
    with pytest.raises(WorkspaceError, match=r"x is not readable YAML"):
        load_yaml("{", "x")


def test_a_bad_catalogue_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.yaml"
    path.write_text(
        "sense: {sense_raw: {title: a, hypothesis: b, families: [x], knobs: {k: {low: 3, high: 1, default: 2}}}}"
    )
    with pytest.raises(UsageError, match=r"catalogue.yaml breaks the catalogue's format"):
        load_catalogue(path)
    path.write_text("[]")
    with pytest.raises(UsageError, match=r"catalogue.yaml holds no slots"):
        load_catalogue(path)
