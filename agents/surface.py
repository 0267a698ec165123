"""What a program did beside its edit surface: changes to other files are reported, new files removed."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from agents.workspace import EDITABLE

OWN = (".nightlab", "proposal.json")
"""What nightlab and the program exchange in a workspace; never committed."""


def others(workspace: Path) -> dict[str, str]:
    """Relative path → sha256 (or link target) of every file of a workspace outside the edit surface."""
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(workspace):
        at = Path(folder)
        links = [name for name in folders if (at / name).is_symlink()]
        for name in [*files, *links]:
            path = at / name
            relative = path.relative_to(workspace)
            if relative.parts[0] not in OWN and str(relative) not in EDITABLE:
                found[str(relative)] = _mark(path)
    return found


def clean(workspace: Path, frozen: Mapping[str, str]) -> list[str]:
    """Remove what is neither editable nor `frozen`, and name the frozen files that were changed or deleted."""
    now = others(workspace)
    changed = [path for path, mark in frozen.items() if now.get(path) != mark]
    kept = {Path(path).parts[0] for path in frozen} | set(EDITABLE)
    for entry in os.scandir(workspace):
        if entry.name not in kept:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
    for path in now:
        if path not in frozen and os.path.lexists(workspace / path):
            os.unlink(workspace / path)
    return changed


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
