"""What a program did beside its edit surface: changes to other files are reported, new files removed."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.workspace import EDITABLE

OWN = (".nightlab", "proposal.json")
"""What nightlab and the program exchange in a workspace; never committed."""


def others(workspace: Path, editable: Sequence[str] = EDITABLE) -> dict[str, str]:
    """Relative path → sha256 (or link target) of every file of a workspace outside the edit surface."""
    return {path: _mark(workspace / path) for path in _names(workspace, editable)}


def clean(workspace: Path, frozen: Mapping[str, str], editable: Sequence[str] = EDITABLE) -> list[str]:
    """Remove what is neither editable nor `frozen`, and name the frozen files that were changed or deleted."""
    changed = [
        path
        for path, mark in frozen.items()
        if not os.path.lexists(workspace / path) or _mark(workspace / path) != mark
    ]
    kept = {Path(path).parts[0] for path in frozen} | set(editable)
    for entry in list(os.scandir(workspace)):
        if entry.name not in kept:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
    for path in set(_names(workspace, editable)) - set(frozen):
        os.unlink(workspace / path)
    return changed


def _names(workspace: Path, editable: Sequence[str]) -> list[str]:
    """Relative paths of all files and links outside the edit surface; links are not followed."""
    found: list[str] = []
    for folder, folders, files in os.walk(workspace):
        at = Path(folder)
        for name in [*files, *(name for name in folders if (at / name).is_symlink())]:
            relative = (at / name).relative_to(workspace)
            if relative.parts[0] not in OWN and str(relative) not in editable:
                found.append(str(relative))
    return found


def _mark(path: Path) -> str:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return f"link:{os.readlink(path)}"
    if not stat.S_ISREG(mode):
        return f"special:{stat.S_IFMT(mode)}"
    digest = hashlib.sha256()
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
