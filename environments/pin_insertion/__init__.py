"""Pin insertion: bring a pin that the gripper holds by friction into a tight hole, gently."""

from __future__ import annotations

from environments.pin_insertion.environment import PinInsertion
from environments.pin_insertion.verify import PinInsertionVerifier

make_environment = PinInsertion
make_verifier = PinInsertionVerifier

__all__ = ["PinInsertion", "PinInsertionVerifier", "make_environment", "make_verifier"]
