"""The host's side of a version in its sandbox: asks it for verdicts and runs its reset on a station.

    async with Judge(version) as judge:
        judged = await judge.verify("push_t", stored, start=record.reset.achieved)

The process sees the version's files, Python and nothing else: no labels, no truth, no network, no other files.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from environments.workbench.station_calls import StationCalls
from environments.workbench.versions import Version
from nightlab.contracts import StoredEvidence
from nightlab.errors import NightlabError, SandboxError, StationError
from nightlab.framing import FramingError, encode, read_frame
from nightlab.processes import kill_group, spawn_async
from nightlab.records import ResetReport, Verdict
from nightlab.sandbox import Level, Limits, Sandbox

RUNNER = Path(__file__).with_name("runner.py")
START_S, VERIFY_S, RESET_S = 60.0, 30.0, 300.0
"""Wall seconds that a version may take for each."""


class CandidateError(NightlabError):
    """A version of an environment broke: it does not load, raised, gave no verdict or took too long."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict and what it cost, decoding of the frames included."""

    verdict: Verdict
    wall_s: float
    cpu_s: float


class Judge:
    """One running version. After a CandidateError in the middle of an exchange it is started again by the next call."""

    def __init__(self, version: Version, *, level: Level | None = None) -> None:
        self.version = version
        self._sandbox = Sandbox(level)
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._log: asyncio.Task[bytes] | None = None

    @property
    def level(self) -> Level:
        """How the version is contained."""
        return self._sandbox.level

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def verify(
        self,
        environment: str,
        stored: StoredEvidence,
        *,
        faults: Sequence[str] = (),
        start: Mapping[str, float] | None = None,
    ) -> Judged:
        """Judge one episode. Raises CandidateError if the version fails."""
        frames = list(stored.frames_png)
        message = {
            "environment": environment,
            "frames": frames,
            "depths": list(stored.depths_png),
            "cameras": list(stored.cameras),
            "seqs": [int(seq) for seq in stored.seqs],
            "observations": [
                {key: np.asarray(value).tolist() for key, value in seen.items()} for seen in stored.observations
            ],
            "faults": list(faults),
            "start": {key: float(value) for key, value in (start or {}).items()},
            "measures": {key: float(value) for key, value in stored.measures.items()},
        }
        reply = await self._ask(["verify", message], VERIFY_S)
        try:
            return Judged(Verdict.model_validate(reply[1]), float(reply[2]), float(reply[3]))
        except (ValueError, TypeError, IndexError) as error:
            raise CandidateError(f"the version gave no verdict: {error}") from error

    async def reset(self, calls: StationCalls, seed: int) -> ResetReport:
        """Run the version's reset to the start of `seed`; the station is driven by this process, on its behalf."""
        await self._ready()
        try:
            async with asyncio.timeout(RESET_S):
                self._writer.write(encode(["reset", seed, calls.admin is not None]))
                while True:
                    reply = await read_frame(self._reader)
                    if not isinstance(reply, list) or not reply:
                        raise CandidateError("the version sent a message that is no call")
                    if reply[0] != "call":
                        break
                    self._writer.write(encode(await calls.answer(reply)))
        except (TimeoutError, OSError, EOFError, FramingError) as error:
            raise await self._broken("its reset", error) from error
        finally:
            await calls.end()
        if reply[0] == "error":
            raise CandidateError(f"its reset raised {reply[1]}")
        try:
            return ResetReport.model_validate(reply[1])
        except (ValueError, IndexError) as error:
            raise CandidateError(f"its reset gave no report: {error}") from error

    async def close(self) -> None:
        """End the process and all it started."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError, TimeoutError):
            self._writer.write(encode(["close"]))
            await asyncio.wait_for(process.wait(), 2.0)
        kill_group(process.pid)
        await process.wait()
        self._writer.close()
        if self._log is not None:
            self._log.cancel()

    async def _ready(self) -> None:
        if self._process is None:
            await self._start()

    async def _ask(self, request: list[Any], limit_s: float) -> list[Any]:
        await self._ready()
        try:
            async with asyncio.timeout(limit_s):
                self._writer.write(encode(request))
                reply = await read_frame(self._reader)
        except (TimeoutError, OSError, EOFError, FramingError) as error:
            raise await self._broken(f"its {request[0]}", error) from error
        if not isinstance(reply, list) or not reply or reply[0] != "ok":
            raise CandidateError(str(reply[1])[:1000] if isinstance(reply, list) and len(reply) > 1 else "no reply")
        return reply

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        inside = self._sandbox.inside
        mounts = [(self.version.root, "/version"), (RUNNER, "/runner.py")]
        order = {
            "fd": theirs.fileno(),
            "path": [inside(self.version.root, "/version"), *self._sandbox.site_packages()],
            "package": self.version.package,
            "sha256": self.version.sha256,
        }
        argv = self._sandbox.wrap(
            [*self._sandbox.python(), inside(RUNNER, "/runner.py"), json.dumps(order)],
            read_only=mounts,
            cwd=inside(self.version.root, "/version"),
            limits=Limits(),
        )
        with theirs:
            self._reader, self._writer = await asyncio.open_connection(sock=ours)
            self._process = await spawn_async(
                argv, stdout=subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, pass_fds=[theirs.fileno()]
            )
        assert self._process.stderr is not None
        self._log = asyncio.create_task(_tail(self._process.stderr))
        try:
            async with asyncio.timeout(START_S):
                reply = await read_frame(self._reader)
        except (TimeoutError, OSError, EOFError, FramingError) as error:
            raise await self._broken("loading it", error) from error
        if reply != ["ok", "ready"]:
            await self.close()
            raise CandidateError(f"version {self.version.sha256[:12]} does not load: {str(reply[1])[:1000]}")

    async def _broken(self, what: str, error: Exception) -> NightlabError:
        """The process is of no use any more: end it, and say what it said."""
        process, log = self._process, self._log
        self._process = None
        if process is not None:
            kill_group(process.pid)
            await process.wait()
            self._writer.close()
        said = ""
        if log is not None:
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                said = (await asyncio.wait_for(log, 1.0)).decode(errors="replace").strip()[-500:]
        if "bwrap:" in said:
            return SandboxError(f"the version could not be contained: {said}; see nightlab doctor")
        why = "took too long" if isinstance(error, TimeoutError) else f"ended the process: {said or error}"
        return CandidateError(f"version {self.version.sha256[:12]}: {what} {why}")


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """The last few kB that a process prints."""
    kept = b""
    while chunk := await stream.read(65536):
        kept = (kept + chunk)[-4096:]
    return kept


__all__ = ["CandidateError", "Judge", "Judged", "StationError"]
