"""A policy as data: one module per slot and the knobs' values; read from a workspace and written back as a small edit.

`policy.py` is read by AST and edited as text: the import of the module and its line in `MODULES` change, nothing else.
`params.yaml` is one flat mapping, knob → number; a knob that is not there has its module's default.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from agents.catalogue import Catalogue, Knob
from agents.workspace import WorkspaceError, load_yaml, read_text, write_text

FILES = ("policy.py", "params.yaml")


@dataclass(frozen=True)
class Recipe:
    """What a policy is made of."""

    modules: Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)

    def knobs(self, catalogue: Catalogue) -> dict[str, tuple[str, Knob]]:
        """Knob → (slot of its module, bounds) over the modules in use."""
        found: dict[str, tuple[str, Knob]] = {}
        for slot, name in self.modules.items():
            module = catalogue.module(slot, name)
            for knob, bounds in (module.knobs if module else {}).items():
                found.setdefault(knob, (slot, bounds))
        return found

    def values(self, catalogue: Catalogue) -> dict[str, float]:
        """Every knob's value in force: from params, else the default."""
        return {
            name: float(self.params[name]) if _is_number(self.params.get(name)) else knob.default
            for name, (_, knob) in self.knobs(catalogue).items()
        }

    def signature(self, catalogue: Catalogue) -> str:
        """Equal for recipes that make the same policy: same modules, same values in force, same other params."""
        values = self.values(catalogue)
        known = {knob for _, _, module in catalogue for knob in module.knobs}
        others = {key: value for key, value in self.params.items() if key not in known}
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        return json.dumps([dict(self.modules), rounded, others], sort_keys=True, default=str)

    def swapped(self, catalogue: Catalogue, slot: str, module: str) -> Recipe:
        """This recipe with another module in a slot; values of knobs that nothing uses any more are dropped."""
        modules = {**self.modules, slot: module}
        kept = Recipe(modules).knobs(catalogue)
        dropped = set(self.knobs(catalogue)) - set(kept)
        params: dict[str, Any] = {}
        for key, value in self.params.items():
            if key in kept and _is_number(value):
                params[key] = kept[key][1].value(float(value))
            elif key not in dropped:
                params[key] = value
        return Recipe(modules, params)

    def tuned(self, knob: str, value: float) -> Recipe:
        """This recipe with one knob set."""
        return Recipe(self.modules, {**self.params, knob: value})


def read_recipe(workspace: Path) -> Recipe:
    """The recipe that a workspace holds.

    Raises:
        WorkspaceError: `policy.py` has no literal `MODULES` dict, or a file cannot be read.
    """
    names = _module_nodes(read_text(workspace / "policy.py"))
    params = load_yaml(read_text(workspace / "params.yaml"), "params.yaml") or {}
    if not isinstance(params, dict):
        raise WorkspaceError("params.yaml must map knob to number, one per line")
    return Recipe({slot: name for slot, (name, _) in names.items()}, {str(key): value for key, value in params.items()})


def peek_recipe(workspace: Path) -> Recipe:
    """The recipe of a workspace that anyone may have rewritten; empty where it cannot be read as one."""
    try:
        return read_recipe(workspace)
    except WorkspaceError:
        return Recipe({})


def write_recipe(workspace: Path, recipe: Recipe) -> None:
    """Edit a workspace so that it holds `recipe`, touching only the lines that differ.

    Raises:
        WorkspaceError: the workspace's files do not have the template's form.
    """
    current = read_recipe(workspace)
    text = read_text(workspace / "policy.py")
    for slot, name in recipe.modules.items():
        if current.modules.get(slot) != name:
            text = _swap(text, slot, name)
    write_text(workspace / "policy.py", text)
    params = _edit_params(read_text(workspace / "params.yaml"), current.params, recipe.params)
    write_text(workspace / "params.yaml", params)


def _module_nodes(text: str) -> dict[str, tuple[str, ast.Name]]:
    """Slot → (module name, the node that names it) of the `MODULES` dict of a `policy.py`."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise WorkspaceError(f"policy.py is not readable Python: {error}") from error
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        named = any(isinstance(target, ast.Name) and target.id == "MODULES" for target in targets)
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if named and isinstance(value, ast.Dict):
            return {
                key.value: (item.id, item)
                for key, item in zip(value.keys, value.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str) and isinstance(item, ast.Name)
            }
    raise WorkspaceError(
        "policy.py has no MODULES dict of slot -> imported module; start from the template of the environment"
    )


def _swap(text: str, slot: str, new: str) -> str:
    """Replace a slot's module in `MODULES` and in the import that binds it."""
    nodes = _module_nodes(text)
    if slot not in nodes:
        raise WorkspaceError(f"policy.py has no slot {slot!r} in MODULES; there are: {', '.join(nodes)}")
    old, node = nodes[slot]
    lines = text.split("\n")
    row = node.lineno - 1
    raw = lines[row].encode()
    lines[row] = (raw[: node.col_offset] + new.encode() + raw[node.end_col_offset :]).decode()
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.ImportFrom) and any(
            (alias.asname or alias.name) == old for alias in statement.names
        ):
            for number in range(statement.lineno - 1, statement.end_lineno or statement.lineno):
                lines[number] = re.sub(rf"\b{re.escape(old)}\b", new, lines[number])
            break
    else:
        raise WorkspaceError(f"policy.py uses {old!r} in MODULES but no import line binds it")
    edited = "\n".join(lines)
    if {key: name for key, (name, _) in _module_nodes(edited).items()} != {
        **{key: name for key, (name, _) in nodes.items()},
        slot: new,
    }:
        raise WorkspaceError(
            f"could not put {new!r} into slot {slot!r} of policy.py; one slot per line, one import per module"
        )
    return edited


def _edit_params(text: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """`params.yaml` with changed, added and removed lines; comments stay."""
    lines = [line for line in text.splitlines() if line.strip() != "{}"]
    for key in [*old, *[key for key in new if key not in old]]:
        at = next((n for n, line in enumerate(lines) if re.match(rf"{re.escape(key)}\s*:", line)), None)
        if key not in new:
            if at is not None:
                del lines[at]
        elif key not in old or old[key] != new[key]:
            comment = re.search(r"\s+#.*$", lines[at]) if at is not None else None
            line = f"{key}: {_yaml_scalar(new[key])}{comment.group() if comment else ''}"
            if at is None:
                lines.append(line)
            else:
                lines[at] = line
    edited = "\n".join(lines) + "\n" if lines else "{}\n"
    try:
        good = (load_yaml(edited) or {}) == dict(new)
    except WorkspaceError:
        good = False
    return edited if good else str(yaml.safe_dump(dict(new), sort_keys=True))


def _yaml_scalar(value: Any) -> str:
    text = str(yaml.safe_dump(value, default_flow_style=True, width=10_000))
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
