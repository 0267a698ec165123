"""What attackers find: a lab with secrets, peers and sockets, a copy of the frozen code, a station, a victim process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from data.keeper import Keeper
from data.keeper_socket import serve as serve_keeper
from data.lab import Lab
from data.seeds import load_key
from data.testing import scripted_lab
from nightlab.errors import PolicyError
from nightlab.records import Channel, LimitsSpec, StationSpec
from nightlab.sandbox import Level
from nightlab.testing.policy import write_policy
from policies.host import PolicyProcess
from robots import serve as station_process
from robots.station import Station

PROJECT = Path(__file__).resolve().parents[2]
SPEC = StationSpec(
    station_id="robot-1", kind="push_t", rate_hz=10, speed=10, simulated=True,
    observations=(Channel(key="agent_xy", shape=(2,), unit="px,px", low=(0, 0), high=(512, 512)),),
    actions=(Channel(key="target_xy", shape=(2,), unit="px,px", low=(0, 0), high=(512, 512)),),
    limits=LimitsSpec(action_low={"target_xy": (0, 0)}, action_high={"target_xy": (512, 512)}),
)  # fmt: skip
SEEN = {"agent_xy": np.array([100.0, 200.0])}
ACT = 'return [{"target_xy": observation["agent_xy"]}]'
SECRET = "token-of-the-operator"
VICTIM = (
    "import ctypes, signal, sys, time\n"
    "ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(2**64 - 1), 0, 0, 0)\n"  # where Yama asks: may be traced
    f"secret = b'memory-' + b'{SECRET}'\n"
    "print(hex(id(secret)), flush=True)\n"
    "time.sleep(120)\n"
)
"""Stands for the harness: a process of the same user with a secret in its memory."""


class House:
    """Everything under one short temporary folder. `level` is the sandbox that defends, `rlimits` where it is off."""

    def __init__(self, folder: Path, level: Level) -> None:
        self.folder, self.level = folder, level
        self._numbers = itertools.count()
        self._exits = contextlib.ExitStack()
        self.template: Path | None = None
        """A lab in the middle of a campaign (see in_lab.py)."""

    def fresh(self) -> Path:
        """A new empty folder."""
        path = self.folder / f"f{next(self._numbers)}"
        path.mkdir()
        return path

    def sandbox(self, defended: bool) -> Level:
        """The level to run untrusted code at."""
        return self.level if defended else "rlimits"

    def close(self) -> None:
        """End what was started."""
        self._exits.close()

    @cached_property
    def lab(self) -> Lab:
        """A lab with a seed key, a peer's workspace and an operator's secret beside it."""
        lab = scripted_lab(self.folder / "lab")
        load_key(lab.key_path)
        (lab.worktrees_dir / "I9").mkdir()
        (lab.worktrees_dir / "I9" / "policy.py").write_text("a peer's idea\n")
        (lab.checkpoints_dir / "I0").mkdir()
        (lab.checkpoints_dir / "I0" / "config.json").write_text("{}")
        (self.folder / "operator.key").write_text(SECRET)
        return lab

    @cached_property
    def station(self) -> Station:
        """A real station server with an admin socket, on threads of this process."""
        arguments = [
            "--station", "robot-1", "--profile", "nominal", "--speed", "max", "--admin-socket",
            str(self.folder / "a.sock"),
        ]  # fmt: skip
        parsed = station_process.parse(arguments)
        server = station_process.start(parsed, station_process.configured(parsed))
        self._exits.callback(server.stop, 0.1)
        return server

    @property
    def admin_socket(self) -> Path:
        """Where the simulator's admin answers."""
        _ = self.station
        return self.folder / "a.sock"

    @contextlib.contextmanager
    def victim(self) -> Iterator[tuple[subprocess.Popen[str], int]]:
        """A process that stands for the harness, and the address of the secret object in its memory."""
        process = subprocess.Popen([sys.executable, "-S", "-c", VICTIM], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline(), 16)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    @cached_property
    def frozen(self) -> Path:
        """The frozen code of push_t and what it needs to run, frozen as it stands."""
        copy = self.fresh()
        for room in ("environments", "nightlab", "robots"):
            shutil.copytree(
                PROJECT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", "*.png", "*.onnx")
            )
        shutil.copy(PROJECT / "requirements.lock", copy)
        done = self.python(copy, "-m", "environments.manifest", "freeze")
        assert done.returncode == 0, done.stderr
        return copy

    def frozen_copy(self) -> Path:
        """A copy of the frozen code, which an attack may change."""
        copy = self.fresh() / "copy"
        shutil.copytree(self.frozen, copy)
        return copy

    def python(self, where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in a copy, with the copy's own code."""
        environment = {**os.environ, "NIGHTLAB_OPERATOR_KEY": str(self.folder / "no.key"), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *arguments], cwd=where, env=environment, capture_output=True, text=True, timeout=280
        )

    @contextlib.asynccontextmanager
    async def keeper(self, lab: Lab) -> AsyncIterator[Keeper]:
        """The lab's keeper, in this process, on its socket."""
        keeper = Keeper(lab)
        await keeper.start()
        server = await asyncio.start_unix_server(
            lambda r, w: serve_keeper(keeper, r, w, set()), lab.keeper_socket, limit=1 << 20
        )
        try:
            yield keeper
        finally:
            server.close()
            await keeper.stop()
            lab.keeper_socket.unlink(missing_ok=True)

    async def policy(self, defended: bool, tries: str, *, load: str = "", after_s: float = 0.0) -> str:
        """Run a policy whose `act` tries something, and return what it printed; `reached …` where it got through.

        Args:
            defended: in the sandbox, or at the level without one.
            tries: statements; what they leave in `got` is printed.
            load: statements at the top of the module.
            after_s: how long to wait before the policy is closed.
        """
        body = (
            f"try:\n    got = None\n{_indented(tries)}\n    print('reached', got, flush=True)\n"
            f"except BaseException as error:\n    print(type(error).__name__, error, flush=True)\n{ACT}"
        )
        code, checkpoint = write_policy(self.fresh(), act=body, load=f"import os, socket, sys\n{load}")
        process = await PolicyProcess.start(
            code, checkpoint, level=self.sandbox(defended), act_deadline_s=60.0, start_deadline_s=60.0
        )
        try:
            await process.reset(SPEC, 1)
            with contextlib.suppress(PolicyError):
                await process.act(SEEN)
            await asyncio.sleep(max(after_s, 0.02))
        finally:
            await process.close()
        return process.log


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())
