"""Environments: manipulation problems with their contract (start, reset, verify, limits). One folder each."""

from __future__ import annotations

import importlib
from importlib import metadata
from types import ModuleType

from nightlab.contracts import Environment, Verifier
from nightlab.errors import UsageError

ENTRY_POINTS = "nightlab.environments"
"""Entry-point group for environments outside this project: name → module with `make_environment`, `make_verifier`."""

REGISTRY = {
    "push_t": "environments.push_t",
}
"""One line per environment: name → package with `make_environment()` and `make_verifier(manifest_sha256)`."""


def names() -> list[str]:
    """Names of all environments, built-in and installed."""
    return sorted({*REGISTRY, *(point.name for point in metadata.entry_points(group=ENTRY_POINTS))})


def package_name(name: str) -> str:
    """Dotted name of an environment's package.

    Raises:
        UsageError: no such environment.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    for point in metadata.entry_points(group=ENTRY_POINTS):
        if point.name == name:
            return point.value
    raise UsageError.unknown("environment", name, names(), "nightlab run push_t")


def make(name: str) -> Environment:
    """A fresh environment. Raises UsageError for an unknown name."""
    environment: Environment = _package(name).make_environment()
    return environment


def make_verifier(name: str, manifest_sha256: str = "") -> Verifier:
    """The frozen verifier of an environment; it stamps its verdicts with `manifest_sha256`."""
    verifier: Verifier = _package(name).make_verifier(manifest_sha256)
    return verifier


def world(name: str) -> str:
    """The simulated world that an environment's stations run: its package's `WORLD`, else its own name."""
    found: str = getattr(_package(name), "WORLD", name)
    return found


def _package(name: str) -> ModuleType:
    return importlib.import_module(package_name(name))
