"""What an attack is: one row of docs/cheating.md and the code that tries it, with its defence on or off."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.cheating.house import House


class Outcome(StrEnum):
    """What became of an attack while its defence was on."""

    IMPOSSIBLE = "impossible"
    """Nothing was reached; a policy that stumbles over it has a failed episode."""
    INVALID = "INVALID"
    """Found out: the iteration ends as INVALID and the campaign's report says why."""
    FAILURE = "counts as failure"
    """It can be tried, and does not pay."""
    UNSCORED = "station's fault"
    """Not a policy's doing: recorded, counted, never averaged."""


@dataclass(frozen=True, slots=True)
class Tried:
    """How an attempt went: whether the attacker got what it wanted, and what was said of it."""

    succeeded: bool
    said: str


Run = Callable[["House", bool], Awaitable[Tried]]
"""(house, defended) → how it went."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack."""

    name: str
    by: str
    """Who attacks: policy, training, researcher, or somebody who got past the sandbox."""
    aim: str
    defence: str
    outcome: Outcome
    control: str
    """The one defence that is switched off in the positive control."""
    says: str
    """Pattern of what is said while the defence is on."""
    run: Run


ATTACKS: dict[str, Attack] = {}


def attack(
    by: str, aim: str, *, defence: str, outcome: Outcome = Outcome.IMPOSSIBLE, control: str, says: str
) -> Callable[[Run], Run]:
    """Register an attack under its function's name."""

    def register(run: Run) -> Run:
        name = str(getattr(run, "__name__", "")).replace("_", " ")
        assert name not in ATTACKS, f"two attacks are called {name}"
        ATTACKS[name] = Attack(name, by, aim, defence, outcome, control, says, run)
        return run

    return register


@contextlib.contextmanager
def switched_off(owner: Any, name: str, instead: Any, *, really: bool = True) -> Iterator[None]:
    """For the length of a `with`, `owner.name` is `instead`: a defence switched off for a positive control."""
    before = getattr(owner, name)
    if really:
        setattr(owner, name, instead)
    try:
        yield
    finally:
        setattr(owner, name, before)
