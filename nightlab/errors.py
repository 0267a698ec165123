"""Errors that a user can act on.

Message = what was asked + what exists + the command that fixes it. The CLI prints the message and no traceback.

NightlabError
├─ UsageError        the request itself is wrong (unknown name, bad number)
├─ LabError          the lab directory is missing, locked or corrupt
│  └─ DiskFullError  no space is left: what was asked may be asked again
├─ StationError      a station refused or failed
│  ├─ LeaseError     no lease, a wrong token or an expired one
│  ├─ SafetyError    the safety filter refused the action
│  ├─ EstopError     the e-stop is latched: nothing moves until an operator clears it
│  ├─ SkillError     a skill (grasp, extract, hand over, …) did not achieve what it is for
│  └─ ResetError     the station cannot be brought to a start; a person has to look
├─ PolicyError       the policy broke its contract (exception, shape, NaN, late)
├─ SandboxError      untrusted code could not be contained
├─ TamperError       a frozen file differs from its manifest
└─ ServiceError      a process of the lab does not answer
"""

from __future__ import annotations

from collections.abc import Iterable


class NightlabError(Exception):
    """Base of every error that nightlab raises on purpose."""


class UsageError(NightlabError):
    """The request names something that does not exist or is out of range."""

    @classmethod
    def unknown(cls, what: str, asked: str, known: Iterable[str], fix: str) -> UsageError:
        """An unknown name: what was asked, what exists, and the command that lists or fixes it."""
        return cls(f"unknown {what} {asked!r}; there are: {', '.join(sorted(known)) or 'none'}. Try: {fix}")


class LabError(NightlabError):
    """The lab directory is missing, locked by another process, or corrupt."""


class DiskFullError(LabError):
    """No space is left on a disk of the lab; the same request succeeds once there is some."""


class StationError(NightlabError):
    """A station refused a request or failed while serving it."""


class LeaseError(StationError):
    """No lease, a wrong token, or one that expired."""


class SafetyError(StationError):
    """The safety filter refused an action; the robot held its position."""


class EstopError(StationError):
    """The e-stop is latched: the station refuses everything until an operator has cleared it."""


class SkillError(StationError):
    """A skill did not achieve what it is for; the robot holds."""


class ResetError(StationError):
    """A reset used up its attempts: the station is parked until a person has looked at it."""


class PolicyError(NightlabError):
    """A policy broke its contract: exception, wrong shape, NaN, or too late."""


class SandboxError(NightlabError):
    """Untrusted code could not be contained as asked."""


class TamperError(NightlabError):
    """A frozen file differs from its manifest."""


class ServiceError(NightlabError):
    """A process of the lab does not answer."""
