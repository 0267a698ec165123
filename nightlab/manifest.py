"""Manifests of frozen code: sha256 of every file that a module imports, directly or not, found by reading it as text.

Nothing is imported or run: imports are read from the syntax tree, functions included. Only files under the given roots
count (first-party code); what is installed is pinned by the lock file, which is hashed with them.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from nightlab.errors import TamperError

Hashes = dict[str, str]
"""Path relative to its root, with forward slashes → sha256 of the file's bytes."""


def import_closure(
    roots: Sequence[Path], modules: Iterable[str], *, only: Mapping[Path, str] | None = None
) -> dict[str, Path]:
    """All first-party files that `modules` need, by path relative to their root; packages' `__init__.py` included.

    Args:
        roots: where first-party code lies.
        modules: dotted names to begin with.
        only: root → the one top-level package of it that is first-party; for a root that holds others' packages too.

    Raises:
        TamperError: a module of `modules` does not exist, or a file is not valid Python.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    limits = only or {}
    for module in waiting:
        if not any(name == module for _, _, name in _files_of(roots, module, limits)):
            raise TamperError(f"frozen module {module} is gone; it was looked for in {', '.join(map(str, roots))}")
    while waiting:
        for root, path, module in _files_of(roots, waiting.pop(), limits):
            key = path.relative_to(root).as_posix()
            if key not in found:
                found[key] = path
                waiting.extend(_imports(path, module))
    return found


def _files_of(roots: Sequence[Path], module: str, only: Mapping[Path, str]) -> Iterator[tuple[Path, Path, str]]:
    """(root, file, module) of a dotted name and of each package above it, where they are first-party."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        for root in roots:
            path = _locate(root, name) if only.get(root, parts[0]) == parts[0] else None
            if path is not None:
                yield root, path, name
                break


def _locate(root: Path, module: str) -> Path | None:
    """The file Python would import for a dotted name under `root`: a package goes before a module of the same name."""
    base = root.joinpath(*module.split("."))
    for path in (base / "__init__.py", base.with_name(base.name + ".py")):
        if path.is_file():
            return path
    return None


def _imports(path: Path, module: str) -> set[str]:
    data = path.read_bytes()
    try:
        return set(_imported_names(data, module, path.name == "__init__.py"))
    except (SyntaxError, ValueError) as error:
        raise TamperError(f"frozen file {path} is not valid Python: {error}") from error


@lru_cache(maxsize=512)
def _imported_names(source: bytes, module: str, is_package: bool) -> tuple[str, ...]:
    """Dotted names that may be modules: `from a import b` gives both `a` and `a.b`."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(names)


def hash_files(files: Mapping[str, Path]) -> Hashes:
    """sha256 of each file, sorted by name."""
    return {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in sorted(files)}


def total_hash(hashes: Mapping[str, str]) -> str:
    """One sha256 for the whole manifest: over the lines `<sha256>  <path>`, sorted by path."""
    lines = "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()


def write_manifest(path: Path, subject: str, hashes: Mapping[str, str]) -> str:
    """Write a manifest; returns its total sha256."""
    total = total_hash(hashes)
    record = {"schema_version": 1, "subject": subject, "sha256": total, "files": dict(sorted(hashes.items()))}
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return total


def check_manifest(path: Path, subject: str, hashes: Mapping[str, str], *, fix: str) -> str:
    """The total sha256 if `hashes` are those of the manifest at `path`.

    Raises:
        TamperError: the manifest is missing or broken, or files differ; names every one of them and the command `fix`.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        frozen: Hashes = dict(record["files"])
        stated = str(record["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TamperError(f"manifest {path} of {subject} cannot be read ({error}); to write it: {fix}") from error
    differing = [
        *(f"{name} was changed" for name in sorted(frozen) if name in hashes and hashes[name] != frozen[name]),
        *(f"{name} is gone or no longer imported" for name in sorted(frozen) if name not in hashes),
        *(f"{name} is new" for name in sorted(hashes) if name not in frozen),
    ]
    if differing:
        raise TamperError(
            f"frozen code of {subject} differs from {path.name}: {'; '.join(differing)}. "
            f"Undo the change, or, if it is meant, freeze it anew: {fix}"
        )
    if stated != total_hash(frozen):
        raise TamperError(f"manifest {path} of {subject} was edited by hand; to write it: {fix}")
    return stated
