"""Environments: manipulation problems with their contract (start, reset, verify, limits). One folder each."""

from __future__ import annotations

import importlib
from types import ModuleType

from nightlab.cards import card, installed
from nightlab.contracts import Environment, Verifier
from nightlab.errors import UsageError

REGISTRY = {
    "pin_insertion": "environments.pin_insertion",
    "push_t": "environments.push_t",
}
"""One line per environment of this project: name → package with `make_environment()` and
`make_verifier(manifest_sha256)`. Environments from elsewhere come by the entry-point group `nightlab.environments`."""


def names() -> list[str]:
    """Names of all environments, built-in and installed."""
    return sorted({*REGISTRY, *installed()})


def package_name(name: str) -> str:
    """Dotted name of an environment's package.

    Raises:
        UsageError: no such environment.
    """
    package = REGISTRY.get(name) or installed().get(name)
    if package is not None:
        return package
    raise UsageError.unknown("environment", name, names(), "nightlab environment list")


def make(name: str) -> Environment:
    """A fresh environment. Raises UsageError for an unknown name."""
    environment: Environment = _package(name).make_environment()
    return environment


def make_verifier(name: str, manifest_sha256: str = "") -> Verifier:
    """The frozen verifier of an environment; it stamps its verdicts with `manifest_sha256`."""
    verifier: Verifier = _package(name).make_verifier(manifest_sha256)
    return verifier


def world(name: str) -> str:
    """The simulated world that an environment's stations run, as its card says."""
    package_name(name)
    return card(name).world


def _package(name: str) -> ModuleType:
    return importlib.import_module(package_name(name))
