"""Versions of an environment: the frozen files of one manifest, gathered into a folder of their own.

A version is asked for as `current`, as the (first letters of the) sha256 of its manifest, or as a folder that
`nightlab environment build` made. A sha256 is looked for in the code as it is now, among the versions that the operator
has frozen, and in the git history of this project; every file found there is checked against the manifest.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from environments import manifest as frozen
from environments import package_name, signing
from nightlab import manifest as files
from nightlab.errors import UsageError

MANIFEST = "manifest.json"
SHORTEST = 7
"""Fewest letters by which a sha256 may be named."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version's files under `root`, at their places as in the project, without anything else."""

    environment: str
    package: str
    root: Path
    sha256: str
    """Of its manifest; goes into its verdicts."""
    source: str
    """Where it came from: `current`, `operator`, `git <commit>` or a folder."""


def find(name: str, wanted: str, into: Path) -> Version:
    """Gather a version in the folder `into`, which must not hold one yet.

    Raises:
        UsageError: there is no such version; the message names those there are.
        TamperError: `current` was asked for and differs from its manifest.
    """
    package = package_name(name)
    now = frozen.frozen_files(name)
    if wanted == "current":
        sha256 = frozen.check(name)
        _copy(now, into)
        return Version(name, package, into, sha256, "current")
    if Path(wanted).is_dir():
        return _built(name, Path(wanted), into)
    if len(wanted) >= SHORTEST and all(letter in "0123456789abcdef" for letter in wanted):
        sha256 = files.total_hash(files.hash_files(now))
        if sha256.startswith(wanted):
            _copy(now, into)
            return Version(name, package, into, sha256, "current")
        for stored in _operators(name):
            if stored.name.startswith(wanted):
                shutil.copytree(stored, into, dirs_exist_ok=True)
                _check(into, json.loads((stored / MANIFEST).read_text()))
                return Version(name, package, into, stored.name, "operator")
        found = _from_git(name, wanted, into)
        if found is not None:
            return Version(name, package, into, *found)
    raise UsageError.unknown(
        f"version of {name}",
        wanted,
        [sha[:12] for sha in known(name)],
        "--version current, a sha256, or a build's folder",
    )


def known(name: str) -> list[str]:
    """sha256 of every version of an environment that `find` has a chance to find, newest first."""
    now = files.total_hash(frozen.current(name))
    in_git = [str(record["sha256"]) for _, record in _manifests_in_git(name)]
    return list(dict.fromkeys([now, *(stored.name for stored in _operators(name)), *in_git]))


def keep(name: str, record: dict[str, Any]) -> Path:
    """Store the version as it is now, with its signed manifest, in the operator's directory; returns the folder."""
    folder = signing.private_folder("versions", name) / str(record["sha256"])
    if not folder.exists():
        partial = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        _copy(frozen.frozen_files(name), partial)
        (partial / MANIFEST).write_text(json.dumps(record, indent=2) + "\n")
        partial.rename(folder)
    (folder / MANIFEST).write_text(json.dumps(record, indent=2) + "\n")
    return folder


def _built(name: str, build: Path, into: Path) -> Version:
    """The version as it is now with the files of a build in place of its own."""
    folder = frozen.manifest_path(name).parent
    _copy(frozen.frozen_files(name), into)
    home = into.joinpath(*package_name(name).split("."))
    authored = [path for path in sorted(build.glob("*.py")) if path.is_file() and not path.is_symlink()]
    if not authored:
        raise UsageError(
            f"{build} holds no reset.py or verify.py; a build is made with: nightlab environment build {name}"
        )
    for path in authored:
        if not (folder / path.name).is_file():
            raise UsageError(
                f"{path} is no file of {name}; there are: {', '.join(p.name for p in folder.glob('*.py'))}"
            )
        shutil.copyfile(path, home / path.name)
    hashes = files.hash_files({path.relative_to(into).as_posix(): path for path in into.rglob("*") if path.is_file()})
    return Version(name, package_name(name), into, files.total_hash(hashes), str(build))


def _copy(found: dict[str, Path], into: Path) -> None:
    for relative, path in found.items():
        (into / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, into / relative)


def _check(root: Path, record: dict[str, Any]) -> None:
    signing.signer(record)
    hashes = files.hash_files({name: root / name for name in record["files"]})
    if files.total_hash(hashes) != record["sha256"]:
        raise UsageError(f"the stored version {root.name} was changed after it was frozen; remove it: rm -r {root}")


def _operators(name: str) -> list[Path]:
    folder = signing.operator_dir() / "versions" / name
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), reverse=True)


# Git history ---------------------------------------------------------------------------------------------------------


def _from_git(name: str, wanted: str, into: Path) -> tuple[str, str] | None:
    """Gather a version from the project's history; (its sha256, where from), or None if it is not there whole."""
    for commit, record in _manifests_in_git(name):
        if not str(record["sha256"]).startswith(wanted):
            continue
        contents = {path: _content(commit, path, sha256) for path, sha256 in record["files"].items()}
        missing = [path for path, data in contents.items() if data is None]
        if missing:
            continue
        for path, data in contents.items():
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            (into / path).write_bytes(data or b"")
        return str(record["sha256"]), f"git {commit[:10]}"
    return None


def _manifests_in_git(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(commit, manifest) of each commit that changed the environment's manifest, newest first."""
    path = frozen.manifest_path(name)
    if not path.is_relative_to(frozen.PROJECT):
        return
    relative = path.relative_to(frozen.PROJECT).as_posix()
    for commit in _git("log", "--all", "--format=%H", "--", relative).decode().split():
        try:
            record = json.loads(_git("show", f"{commit}:{relative}"))
            if record["sha256"] == files.total_hash(record["files"]):
                yield commit, record
        except (ValueError, KeyError, TypeError):
            continue


def _content(commit: str, path: str, sha256: str) -> bytes | None:
    """A file's bytes with that sha256: as in `commit`, else as in any commit (a manifest may have come before its code)."""
    for place in (commit, *_commits_of(path)):
        data = _git("show", f"{place}:{path}")
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
    return None


@lru_cache(maxsize=256)
def _commits_of(path: str) -> tuple[str, ...]:
    return tuple(_git("log", "--all", "--format=%H", "--", path).decode().split())


def _git(*arguments: str) -> bytes:
    """What git says about the project, empty if it says nothing (no repository, no such file)."""
    done = subprocess.run(
        ["git", "-C", str(frozen.PROJECT), *arguments], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    return done.stdout if done.returncode == 0 else b""
