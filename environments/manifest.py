"""The frozen manifest of an environment: its start, reset, verify, limits and score code, and the lock file.

    python -m environments.manifest freeze|check [ENV]

Checked before each campaign and trial, before the episodes of a trial may count, and when the verifier process starts; its
sha256 goes into every verdict and record. Whose manifest counts on this machine: see environments/signing.py.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from environments import names, package_name, signing
from nightlab import manifest as files
from nightlab.cards import CARD
from nightlab.errors import NightlabError, TamperError, UsageError

PROJECT = Path(__file__).resolve().parents[1]
LOCK_FILE = "requirements.lock"
SHARED = ("environments.verifier_process", "environments.manifest")
"""Frozen with every environment: the process that runs the verifier, and this file."""
BESIDE = (CARD, "*.onnx")
"""What is frozen of an environment's folder beside its code: the card names the world, models judge pictures."""


def manifest_path(name: str) -> Path:
    """Where an environment's manifest lies: beside its code."""
    return _folder(name) / "manifest.json"


def current(name: str) -> files.Hashes:
    """Hashes of an environment's frozen files as they are now."""
    return files.hash_files(frozen_files(name))


def as_listed(name: str) -> files.Hashes:
    """Hashes of the files that an environment's manifest lists, as they are now; without those that are gone."""
    try:
        listed = json.loads(manifest_path(name).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # `check_manifest` says what is wrong with it
    roots = list(dict.fromkeys((_root(name), PROJECT)))
    found = {key: next((root / key for root in roots if (root / key).is_file()), None) for key in listed}
    return files.hash_files({key: path for key, path in found.items() if path is not None})


def frozen_files(name: str) -> dict[str, Path]:
    """An environment's frozen files, by path relative to their root."""
    folder, package, root = _folder(name), package_name(name), _root(name)
    modules = [f"{package}.{path.stem}" for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]
    only = {} if root == PROJECT else {root: package.partition(".")[0]}
    found = files.import_closure(list(dict.fromkeys((root, PROJECT))), [package, *modules, *SHARED], only=only)
    lock = PROJECT / LOCK_FILE
    if not lock.is_file():
        raise TamperError(f"{LOCK_FILE} is gone; restore it: git checkout -- {LOCK_FILE}")
    beside = {path.relative_to(root).as_posix(): path for glob in BESIDE for path in sorted(folder.glob(glob))}
    return {**found, **beside, LOCK_FILE: lock}


def freeze(name: str) -> str:
    """Write the manifest of an environment as it is now; returns its sha256."""
    return files.write_manifest(manifest_path(name), name, current(name))


def check(name: str, *, listed: bool = False) -> str:
    """The manifest's sha256.

    Args:
        name: The environment.
        listed: Look at the files that the manifest lists, and not whether their imports still lead to these only: a new
            file that stands before one of them is not found. 0.01 s instead of 0.3: nothing is parsed.

    Raises:
        TamperError: a frozen file differs from the manifest (the message names it), or the operator has frozen another.
        UsageError: no such environment.
    """
    path = manifest_path(name)
    hashes = as_listed(name) if listed else current(name)
    sha256 = files.check_manifest(path, name, hashes, fix=f"python -m environments.manifest freeze {name}")
    signing.check_trust(name, json.loads(path.read_text(encoding="utf-8")))
    return sha256


def _folder(name: str) -> Path:
    found = importlib.util.find_spec(package_name(name))
    if found is None or found.origin is None:
        raise TamperError(f"the package {package_name(name)} of environment {name} is gone")
    return Path(found.origin).parent


def _root(name: str) -> Path:
    """Where an environment's top-level package lies."""
    return _folder(name).parents[package_name(name).count(".")]


def main(arguments: list[str]) -> int:
    """Command line; returns the exit status."""
    try:
        if not arguments or arguments[0] not in ("freeze", "check") or len(arguments) > 2:
            raise UsageError("usage: python -m environments.manifest freeze|check [ENV]")
        act = freeze if arguments[0] == "freeze" else check
        for name in arguments[1:] or names():
            print(f"{name} {act(name)}")
    except NightlabError as error:
        print(f"nightlab: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
