"""The trusted side of a policy: starts it in a sandbox, asks it for actions, and checks every byte of its answers.

A policy that raises keeps its process (the next reset begins anew). One that is too late, floods its output or breaks
the protocol is killed with everything that it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nightlab.arrays import pack, unpack
from nightlab.contracts import Values
from nightlab.errors import PolicyError, SandboxError
from nightlab.framing import FramingError, decode, pack_message
from nightlab.link import Link
from nightlab.processes import kill_group
from nightlab.records import Channel, StationSpec
from nightlab.sandbox import Level, Limits, probe
from policies.jail import Jail
from policies.output import KEPT_BYTES, Output, printable

MAX_CHUNK: Final = 64
"""Actions in one answer of `act` at most."""
POLICY_LIMITS: Final = Limits(memory_mib=4096, cpu_s=24 * 3600, file_mib=16, open_files=128, processes=0)
CLOSE_S: Final = 0.5
"""How long a policy may take to close before it is killed."""
_log = logging.getLogger(__name__)


class PolicyProcess:
    """A running policy. One call at a time. `start` makes one; `close` must be called, also after an error."""

    def __init__(self, jail: Jail, act_deadline_s: float, start_deadline_s: float) -> None:
        self._jail, self._act_s, self._start_s = jail, act_deadline_s, start_deadline_s
        self._process: asyncio.subprocess.Process | None = None
        self._link: Link
        self._output: Output
        self._actions: dict[str, Channel] = {}
        self._doom = ""

    @classmethod
    async def start(
        cls,
        code_dir: Path,
        checkpoint_dir: Path,
        *,
        act_deadline_s: float = 2.0,
        start_deadline_s: float = 20.0,
        level: Level | None = None,
        limits: Limits = POLICY_LIMITS,
    ) -> PolicyProcess:
        """Start `code_dir/policy.py` with its checkpoint, both read-only, and wait until `make_policy` has returned.

        Args:
            code_dir: The researcher's files.
            checkpoint_dir: What training made.
            act_deadline_s: Wall seconds that one `act` may take; then the policy is killed.
            start_deadline_s: The same for loading, and for one `reset`.
            level: Level of containment; by default the strongest that works here.
            limits: Resources.

        Raises:
            PolicyError: the code cannot be loaded, or took too long.
            SandboxError: a directory does not exist, or the sandbox does not start.
        """
        self = cls(Jail(level), act_deadline_s, start_deadline_s)
        if self.level == "rlimits":
            _log.warning("%s", probe().line if level is None else "policy runs WITHOUT A SANDBOX (level rlimits)")
        try:
            await self._launch(Path(code_dir), Path(checkpoint_dir), limits)
            await self._exchange(None, self._start_s, "loading policy.py")
        except BaseException:
            await self.close()
            raise
        return self

    @property
    def level(self) -> Level:
        """The level of containment."""
        return self._jail.level

    @property
    def alive(self) -> bool:
        """Whether it can be asked for more; otherwise start another one."""
        return self._process is not None and self._process.returncode is None and not self._doom

    @property
    def log(self) -> str:
        """The last 64 KiB of what it printed."""
        return self._output.text if self._process is not None else ""

    async def reset(self, spec: StationSpec, seed: int) -> None:
        """Begin an episode. Raises PolicyError; SandboxError for a real robot without a sandbox."""
        if self.level == "rlimits" and not spec.simulated:
            raise SandboxError(
                f"station {spec.station_id} is a real robot and this host has no sandbox; fix: nightlab doctor"
            )
        self._actions = {channel.key: channel for channel in spec.actions}
        self._output.renew()
        await self._exchange(["reset", spec.model_dump(mode="json"), int(seed)], self._start_s, "reset")

    async def act(self, values: Values) -> list[dict[str, NDArray[np.float64]]] | None:
        """The next actions (1 to 64, float64, shapes as the station's channels), or None when the policy is done.

        Raises:
            PolicyError: an exception in the policy, a wrong key, shape or number, too many actions, too late, too much
                output, or its process ended.
        """
        if not self._actions:
            raise PolicyError("act was asked before reset; call reset(spec, seed) first")
        reply = await self._exchange(["act", pack(values)], self._act_s, "act")
        return None if reply is None else self._checked(reply)

    async def close(self) -> None:
        """End the policy, politely if it is well, and everything that it started. Safe to call again."""
        if self._process is None:
            self._jail.close()
            return
        if self.alive:
            with contextlib.suppress(TimeoutError):
                self._link.send(pack_message(["close"]))
                await asyncio.wait_for(self._process.wait(), CLOSE_S)
        kill_group(self._process.pid)
        self._link.close()
        await self._process.wait()
        await self._output.finish()
        self._doom = self._doom or "it was closed"
        self._jail.close()

    async def _launch(self, code_dir: Path, checkpoint_dir: Path, limits: Limits) -> None:
        inside = self._jail.sandbox.inside
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                argv = self._jail.argv(
                    {
                        "mode": "serve",
                        "fd": theirs.fileno(),
                        "code": inside(code_dir, "/code"),
                        "checkpoint": inside(checkpoint_dir, "/checkpoint"),
                    },
                    read_only=[(code_dir, "/code"), (checkpoint_dir, "/checkpoint")],
                    limits=limits,
                )
                _, self._link = await asyncio.get_running_loop().create_connection(Link, sock=ours)
                process = await asyncio.create_subprocess_exec(
                    *argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        assert process.stdout is not None
        self._process = process
        self._output = Output(
            process.stdout, KEPT_BYTES, lambda: self._kill("it printed more than 64 KiB in an episode")
        )

    async def _exchange(self, request: list[Any] | None, deadline_s: float, what: str) -> Any:
        """Send a request (None: only wait for the first message) and return the reply's content."""
        if not self.alive and request is not None:
            raise PolicyError(f"policy failed at {what}: {self._doom or await self._death()}")
        try:
            if request is not None:
                self._link.send(pack_message(request))
            reply = decode(await self._link.receive(deadline_s))
        except TimeoutError:
            self._kill(f"{what} took longer than {deadline_s:g} s")
            raise PolicyError(f"policy failed at {what}: {self._doom}") from None
        except (EOFError, FramingError) as error:
            reason = self._doom or (str(error) if isinstance(error, FramingError) else await self._death())
            self._kill(reason)
            raise PolicyError(f"policy failed at {what}: {self._doom}") from None
        except asyncio.CancelledError:
            self._kill("a call was cancelled in the middle")
            raise
        if isinstance(reply, list) and len(reply) == 2 and reply[0] == "ok":
            return reply[1]
        if isinstance(reply, list) and len(reply) == 2 and reply[0] == "error" and isinstance(reply[1], str):
            raise PolicyError(f"policy failed at {what}: {printable(reply[1])}")
        self._kill("it sent a message that is no reply")
        raise PolicyError(f"policy failed at {what}: {self._doom}")

    async def _death(self) -> str:
        """Why the process is gone, as far as it shows."""
        assert self._process is not None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), CLOSE_S)
        await self._output.finish(0.2)
        said = f"; it last printed: {self._output.last_line}" if self._output.last_line else ""
        code = self._process.returncode
        return self._doom or (f"its process ended with code {code}{said}" if code is not None else "it hung up")

    def _kill(self, reason: str) -> None:
        self._doom = self._doom or reason
        if self._process is not None:
            kill_group(self._process.pid)

    def _checked(self, reply: Any) -> list[dict[str, NDArray[np.float64]]]:
        """The actions of a reply, if they are what the station's channels say."""
        if not isinstance(reply, list) or not 1 <= len(reply) <= MAX_CHUNK:
            count = f"{len(reply)} actions" if isinstance(reply, list) else type(reply).__name__
            raise PolicyError(f"policy failed at act: it gave {count}; a chunk has 1 to {MAX_CHUNK}")
        try:
            chunk = [unpack(action) for action in reply]
        except (ValueError, TypeError, RecursionError) as error:
            self._kill(f"it sent a message that is no action: {printable(str(error), 300)}")
            raise PolicyError(f"policy failed at act: {self._doom}") from None
        for action in chunk:
            self._check_action(action)
        return chunk

    def _check_action(self, action: dict[str, NDArray[np.float64]]) -> None:
        if action.keys() != self._actions.keys():
            got = printable(", ".join(sorted(action)) or "none", 300)
            raise PolicyError(f"policy failed at act: it gave channels {got}; there are: {', '.join(self._actions)}")
        for key, array in action.items():
            if array.shape != self._actions[key].shape:
                asked = self._actions[key].shape
                raise PolicyError(f"policy failed at act: {key} has shape {array.shape}, the station takes {asked}")
            if not np.isfinite(array).all():
                raise PolicyError(f"policy failed at act: {key} is not finite: {array.tolist()}")
