"""The files that a researcher may edit, read and written as text; nothing here runs what an agent wrote."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from nightlab.errors import NightlabError

EDITABLE = ("policy.py", "train.py", "params.yaml", "notes.md")
"""The edit surface of a workspace; everything else in it is ignored or refused."""
MAX_BYTES = 256 * 1024
"""Largest editable file."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class WorkspaceError(NightlabError):
    """A file of a workspace is missing, too large, a link, or not what it should be."""


def read_text(path: Path) -> str:
    """The text of a regular file of at most `MAX_BYTES`.

    Raises:
        WorkspaceError: the file is missing, a link or other special file, too large, or not UTF-8.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise WorkspaceError(f"cannot read {path.name}: {error.strerror}; a workspace holds {_surface()}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise WorkspaceError(f"{path.name} is not a regular file; a workspace holds {_surface()}")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise WorkspaceError(f"{path.name} is larger than {MAX_BYTES} bytes; shorten it")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WorkspaceError(f"{path.name} is not UTF-8 text: {error.reason}") from error


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically, so that a link in its place is replaced and not followed."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def load_yaml(text: str, name: str = "YAML") -> Any:
    """Plain data from YAML text. Aliases are refused: a few lines of them can expand into gigabytes.

    Raises:
        WorkspaceError: the text is not YAML, or uses aliases.
    """
    try:
        if "*" in text and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_Loader)):
            raise WorkspaceError(f"{name} uses YAML aliases (*name); write the values out")
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError) as error:
        raise WorkspaceError(f"{name} is not readable YAML: {str(error).splitlines()[0]}") from error


def snapshot(workspace: Path, editable: Sequence[str] = EDITABLE) -> dict[str, str]:
    """File name → text for each editable file that exists."""
    return {name: read_text(workspace / name) for name in editable if os.path.lexists(workspace / name)}


def diff(before: Mapping[str, str], after: Mapping[str, str], editable: Sequence[str] = EDITABLE) -> str:
    """One unified diff over all editable files; empty if nothing changed."""
    parts: list[str] = []
    for name in editable:
        old, new = before.get(name, ""), after.get(name, "")
        if old != new:
            lines = difflib.unified_diff(old.splitlines(), new.splitlines(), f"a/{name}", f"b/{name}", lineterm="")
            parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def _surface() -> str:
    return ", ".join(EDITABLE)
