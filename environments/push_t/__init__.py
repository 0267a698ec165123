"""Push-T: push a T-shaped block onto its goal pose with a disc, and hold it there."""

from __future__ import annotations

from environments.push_t.environment import PushT
from environments.push_t.verify import PushTVerifier

make_environment = PushT
make_verifier = PushTVerifier

__all__ = ["PushT", "PushTVerifier", "make_environment", "make_verifier"]
