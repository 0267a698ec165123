"""The frozen manifest of an environment: its start, reset, verify, limits and score code, and the lock file.

    python -m environments.manifest freeze|check [ENV]

Checked before each trial and when the verifier process starts; its sha256 goes into every verdict and record. Whose
manifest counts on this machine: see environments/signing.py.
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


def frozen_files(name: str) -> dict[str, Path]:
    """An environment's frozen files, by path relative to their root."""
    folder, package = _folder(name), package_name(name)
    root = folder.parents[package.count(".")]
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


def check(name: str) -> str:
    """The manifest's sha256.

    Raises:
        TamperError: a frozen file differs from the manifest (the message names it), or the operator has frozen another.
        UsageError: no such environment.
    """
    path = manifest_path(name)
    sha256 = files.check_manifest(path, name, current(name), fix=f"python -m environments.manifest freeze {name}")
    signing.check_trust(name, json.loads(path.read_text(encoding="utf-8")))
    return sha256


def _folder(name: str) -> Path:
    found = importlib.util.find_spec(package_name(name))
    if found is None or found.origin is None:
        raise TamperError(f"the package {package_name(name)} of environment {name} is gone")
    return Path(found.origin).parent


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
