"""`nightlab doctor`: what nightlab needs on this machine, checked for real, each with its fix."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

Level = Literal["ok", "warn", "bad"]
DISK_BAD_GIB = 1.0
DISK_WARN_GIB = 5.0
INSTALL = "make -B .venv/.nightlab-ready"
LIBRARIES = {
    "prefect": INSTALL,
    "grpc": INSTALL,
    "torch": INSTALL,
    "lerobot": INSTALL,
    "pymunk": INSTALL,
    "dvc": INSTALL,
    "cv2": "apt-get install libgl1 libglib2.0-0, or make system",
    "av": INSTALL,
    "gymnasium": INSTALL,
    "optuna": INSTALL,
    "shapely": INSTALL,
}
"""Packages that are imported, and what mends an import that fails."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    level: Level
    found: str
    fix: str = ""


def doctor(
    lab: Annotated[Path, typer.Option(help="Lab directory to look at, if there is one")] = Path("lab"),
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the slow imports")] = False,
) -> None:
    """Check Python, packages, sandbox, ports, disk and the lab; say how to mend what is wrong."""
    marks = {"ok": "ok  ", "warn": "warn", "bad": "BAD "}
    worst = 0
    for check in checks(lab, quick=quick):
        typer.echo(f"{marks[check.level]} {check.name:<10} {check.found}")
        if check.fix and check.level != "ok":
            typer.echo(f"     {'':<10} fix: {check.fix}")
        worst += check.level == "bad"
    typer.echo("all is well" if not worst else f"{worst} thing{'s' * (worst > 1)} must be mended")
    if worst:
        raise typer.Exit(1)


def checks(lab: Path, *, quick: bool = False) -> list[Check]:
    """Everything that is looked at, in the order in which things are needed."""
    slow = [] if quick else [lambda name=name, fix=fix: library(name, fix) for name, fix in LIBRARIES.items()]
    looks: list[Callable[[], Check]] = [
        python, git, versions, *slow, sandbox, frozen, loopback, lambda: disk(lab), temporary, lambda: lab_check(lab),
    ]  # fmt: skip
    return [look() for look in looks]


def python() -> Check:
    """The interpreter's version."""
    found = f"{sys.version.split()[0]} at {sys.executable}"
    good = (3, 12) <= sys.version_info[:2] < (3, 14)
    return Check("python", "ok" if good else "bad", found, "install python3.12 with python3.12-venv, then: make")


def git() -> Check:
    """The lab is a git repository."""
    found = shutil.which("git")
    return Check("git", "ok" if found else "bad", found or "not found", "apt-get install git")


def versions() -> Check:
    """Versions of Prefect's server that are known to work."""
    from commands.prefect_server import PINS, check_versions
    from nightlab.errors import ServiceError

    try:
        check_versions()
    except (ServiceError, ImportError) as error:
        return Check("versions", "bad", str(error), INSTALL)
    return Check("versions", "ok", ", ".join(PINS) + " as measured")


def library(name: str, fix: str) -> Check:
    """Import a package: finds missing native libraries as well."""
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a broken native library raises whatever it likes
        return Check(name, "bad", f"import fails: {type(error).__name__}: {error}", fix)
    return Check(name, "ok", str(getattr(module, "__version__", "") or "imports"))


def frozen() -> Check:
    """Whether the code of each environment is that of its manifest; only then it judges."""
    from commands.environment_list import row
    from environments import REGISTRY, names

    rows = [row(name) for name in names()]
    open_ = [one for one in rows if not one.get("frozen")]
    if open_:
        why = "; ".join(str(one.get("error") or one["why_not_frozen"]) for one in open_)
        fix = "undo the change, or, if it is meant: python -m environments.manifest freeze NAME"
        return Check("frozen", "bad" if any(one["name"] in REGISTRY for one in open_) else "warn", why, fix)
    return Check("frozen", "ok", f"{', '.join(one['name'] for one in rows)}: code as in the manifest")


def sandbox() -> Check:
    """The strongest containment of researcher code that works here."""
    from nightlab.sandbox import probe

    found = probe()
    return Check(
        "sandbox",
        "warn" if found.level == "rlimits" else "ok",
        found.line,
        "apt-get install bubblewrap, or make system",
    )


def loopback() -> Check:
    """Stations and Prefect answer on loopback."""
    from commands.ports import is_free

    if is_free(0):
        return Check("ports", "ok", "127.0.0.1 can be listened on")
    return Check("ports", "bad", "cannot listen on 127.0.0.1", "bring the loopback interface up: ip link set lo up")


def disk(lab: Path) -> Check:
    """Room for rollouts and checkpoints."""
    place = next(folder for folder in (lab.resolve(), *lab.resolve().parents) if folder.exists())
    free_gib = shutil.disk_usage(place).free / 2**30
    level: Level = "bad" if free_gib < DISK_BAD_GIB else "warn" if free_gib < DISK_WARN_GIB else "ok"
    return Check("disk", level, f"{free_gib:.1f} GiB free at {place}", "free some, or use another place: --lab DIR")


def temporary() -> Check:
    """Sockets of labs with long paths, and scratch files."""
    place = tempfile.gettempdir()
    good = os.access(place, os.W_OK)
    return Check(
        "temporary", "ok" if good else "bad", f"{place} {'can' if good else 'cannot'} be written", "set TMPDIR"
    )


def lab_check(lab: Path) -> Check:
    """Whether the lab is whole, and what runs in it."""
    from commands.lab_state import read_state
    from data.lab import Lab
    from nightlab.errors import NightlabError

    if not Lab.exists(lab):
        return Check("lab", "ok", f"none at {lab} yet; nightlab run or nightlab up makes it")
    try:
        opened = Lab.open(lab)
    except NightlabError as error:
        return Check("lab", "bad", str(error), "see the message")
    state = read_state(opened)
    if state is None or not state.supervisor.alive:
        return Check("lab", "ok", f"{lab} is whole, and down")
    dead = [name for name, process in state.processes.items() if not process.alive]
    if dead:
        return Check("lab", "warn", f"{lab} is up, without {', '.join(dead)}", f"nightlab down --lab {lab}, then up")
    return Check("lab", "ok", f"{lab} is whole, and up at {state.ui_url}")
