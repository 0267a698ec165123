"""Scripted policies: one in the caller's own process with the interface of `PolicyProcess`, and code for a real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.errors import PolicyError
from nightlab.records import StationSpec

Action = dict[str, NDArray[np.float64]]
Script = Callable[[Values, int], Sequence[Mapping[str, object]] | None]
"""(observation, answers given since the reset) → actions, or None for done."""


class ScriptedPolicy:
    """Does what a function says. Has the methods of `policies.host.PolicyProcess`; nothing is sandboxed or checked."""

    level = "rlimits"

    def __init__(self, script: Script) -> None:
        self._script = script
        self.alive = True
        self.log = ""
        self.resets: list[int] = []
        """Seeds that it was reset with."""
        self._given = 0

    async def reset(self, spec: StationSpec, seed: int) -> None:
        """Begin an episode."""
        if not self.alive:
            raise PolicyError("policy failed at reset: it was closed")
        self.resets.append(seed)
        self._given = 0

    async def act(self, values: Values) -> list[Action] | None:
        """The script's answer; what it raises becomes a PolicyError, as in the sandbox."""
        try:
            chunk = self._script(values, self._given)
        except Exception as error:
            raise PolicyError(f"policy failed at act: {type(error).__name__}: {error}") from error
        self._given += 1
        if chunk is None:
            return None
        return [{key: np.asarray(value, dtype=np.float64) for key, value in action.items()} for action in chunk]

    async def close(self) -> None:
        """No more calls."""
        self.alive = False


def write_policy(
    folder: Path, *, act: str, reset: str = "pass", load: str = "", make: str = "pass"
) -> tuple[Path, Path]:
    """A `policy.py` of the given statements, and an empty checkpoint: (code directory, checkpoint directory).

    Args:
        folder: Where to make `code/` and `checkpoint/`.
        act: Body of `act(self, observation)`, e.g. `return [{"target_xy": observation["agent_xy"]}]`.
        reset: Body of `reset(self, spec, seed)`.
        load: Statements at the top of the module, after `import numpy as np`.
        make: Body of `make_policy(checkpoint)` before it returns the policy.
    """
    code, checkpoint = folder / "code", folder / "checkpoint"
    for path in (code, checkpoint):
        path.mkdir(parents=True, exist_ok=True)
    (code / "policy.py").write_text(
        f"import numpy as np\n{load}\n\nclass Policy:\n"
        f"    def reset(self, spec, seed):\n{_indented(reset, 8)}\n"
        f"    def act(self, observation):\n{_indented(act, 8)}\n"
        f"    def close(self):\n        pass\n\n"
        f"def make_policy(checkpoint):\n{_indented(make, 4)}\n    return Policy()\n",
        encoding="utf-8",
    )
    return code, checkpoint


def _indented(body: str, columns: int) -> str:
    return "\n".join(" " * columns + line for line in body.splitlines())
