"""Runs one version of an environment inside the sandbox; started by `environments.workbench.judge`, by path.

    python runner.py '{"fd": 5, "path": [...], "package": "environments.push_t", "sha256": "..."}'

A script: it imports nothing of nightlab but what the version brings along, so that versions of any age run. It speaks
framed msgpack (nightlab/framing.py of the version) over the socket `fd`. Requests: `["verify", evidence]`, `["reset",
seed, whether there is an admin]`, `["close"]`. Replies: `["ok", ...]` or `["error", text]`; while a reset runs, `["call",
name, arguments]` asks the host to do something at the station. What the version prints goes to stderr.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class HostError(Exception):
    """The host refused a call or it failed there."""


class Gone(BaseException):
    """The host has closed the socket; nothing that a version catches."""


class Wire:
    """The socket to the host; one request and one reply at a time."""

    def __init__(self, fd: int) -> None:
        self._framing = importlib.import_module("nightlab.framing")
        self._socket = socket.socket(fileno=fd)

    def send(self, message: Any) -> None:
        """Send one message."""
        try:
            self._framing.send(self._socket, message)
        except OSError as error:
            raise Gone from error

    def receive(self) -> Any:
        """The next message."""
        try:
            return self._framing.recv(self._socket)
        except (OSError, EOFError) as error:
            raise Gone from error

    def call(self, name: str, *arguments: Any) -> Any:
        """Have the host do something at the station. Raises the version's own class of the host's error."""
        self.send(["call", name, list(arguments)])
        reply = self.receive()
        if reply[0] == "raise":
            kind = getattr(importlib.import_module("nightlab.errors"), reply[1], HostError)
            raise kind(reply[2])
        return _object(reply[1])


class Station:
    """Implements the version's `Station` by calls to the host."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        async def call(*arguments: Any, **named: Any) -> Any:
            kept = [_plain(value) for value in arguments if not isinstance(value, Lease)]
            return self._wire.call(name, kept, {key: _plain(value) for key, value in named.items()})

        return call

    @asynccontextmanager
    async def control(self, lease: Any, label: str = "") -> AsyncIterator[Any]:
        """A control stream."""
        self._wire.call("control", [], {})
        try:
            yield Session(self._wire)
        finally:
            self._wire.call("control_end", [], {})


class Session:
    """Implements `ControlSession` by calls to the host."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def step(self, chunk: Any, *, film: bool = False) -> Any:
        """Run a chunk of actions."""
        return self._wire.call("step", [_plain(list(chunk))], {})

    async def hold(self) -> Any:
        """Hold for one control period."""
        return self._wire.call("hold", [], {})


class Lease:
    """Stands for the lease that the host holds."""

    token = "held by the host"

    async def release(self) -> None:
        """The host gives it back."""


class Admin:
    """Implements `SimulatorAdmin` without the truth, which no reset may read."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def teleport(self, start: Any, episode_seed: int) -> None:
        """Put the world at a start."""
        self._wire.call("teleport", [_plain(dict(start)), int(episode_seed)], {})

    async def truth(self) -> Any:
        """Refused."""
        raise importlib.import_module("nightlab.errors").StationError(
            "the ground truth is for the workbench only; a reset proves itself by the station's sensors and cameras"
        )


def _plain(value: Any) -> Any:
    """Numbers, text, lists and mappings of what a station is given."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _object(value: Any) -> Any:
    """What the host sent as the version's own classes."""
    if isinstance(value, list):
        return [_object(item) for item in value]
    if not isinstance(value, dict) or "_" not in value:
        return value
    import numpy as np

    contracts, records = importlib.import_module("nightlab.contracts"), importlib.import_module("nightlab.records")
    kind = value["_"]
    if kind == "values":
        return {key: np.asarray(item, np.float64) for key, item in value["values"].items()}
    if kind == "spec":
        return records.StationSpec.model_validate_json(value["json"])
    clock = records.Clock(wall_s=value["wall_s"], station_s=value["station_s"])
    if kind == "clock":
        return clock
    if kind == "frame":
        rgb = np.frombuffer(value["rgb"], np.uint8).reshape(value["shape"])
        depth = value.get("depth")
        if depth is not None:
            depth = np.frombuffer(depth, np.float32).reshape(value["shape"][:2])
        return contracts.Frame(value["camera"], clock, value["seq"], rgb, depth)
    values = {key: np.asarray(item, np.float64) for key, item in value["values"].items()}
    return contracts.Observation(value["seq"], clock, values)


def evidence(message: dict[str, Any]) -> Any:
    """The version's `EpisodeEvidence`; what a version does not know of is left out."""
    import numpy as np

    contracts, records = importlib.import_module("nightlab.contracts"), importlib.import_module("nightlab.records")
    pictures = importlib.import_module("environments.frames").decode_frames(message["frames"])
    depths: list[Any] = [None] * len(pictures)
    if message["depths"]:
        decode = importlib.import_module("nightlab.depth").decode_depth
        depths = [decode(png) if png else None for png in message["depths"]]
    clock = records.Clock(wall_s=0.0, station_s=0.0)
    cameras = message["cameras"] or [""] * len(pictures)
    seqs = message["seqs"] or range(len(pictures))
    fields = {field.name for field in dataclasses.fields(contracts.EpisodeEvidence)}
    parts = {
        "environment": message["environment"],
        "frames": tuple(map(contracts.Frame, cameras, [clock] * len(pictures), seqs, pictures, depths)),
        "observations": tuple(
            {key: np.asarray(value, np.float64) for key, value in seen.items()} for seen in message["observations"]
        ),
        "faults": tuple(message["faults"]),
        "start": message["start"],
        "measures": message["measures"],
    }
    return contracts.EpisodeEvidence(**{name: part for name, part in parts.items() if name in fields})


def serve(wire: Wire, package: str, sha256: str) -> None:
    """Answer until told to close."""
    module = importlib.import_module(package)
    verifier = module.make_verifier(sha256)
    wire.send(["ok", "ready"])
    while True:
        request = wire.receive()
        if request[0] == "close":
            return
        try:
            if request[0] == "verify":
                begin_s, cpu_s = time.perf_counter(), time.process_time()
                verdict = verifier.verify(evidence(request[1]))
                took = [time.perf_counter() - begin_s, time.process_time() - cpu_s]
                reply = ["ok", verdict.model_dump(mode="json"), *took]
            else:
                admin = Admin(wire) if request[2] else None
                work = module.make_environment().reset(Station(wire), Lease(), request[1], admin=admin)
                reply = ["ok", asyncio.run(work).model_dump(mode="json")]
        except Exception as error:
            reply = ["error", f"{type(error).__name__}: {error}"[:2000]]
        wire.send(reply)


def main() -> None:
    """Run with the order given as the first argument."""
    order = json.loads(sys.argv[1])
    sys.path[:0] = order["path"]
    os.dup2(2, 1)
    wire = Wire(order["fd"])
    try:
        import cv2

        cv2.setNumThreads(1)
        serve(wire, order["package"], order["sha256"])
    except Gone:
        return
    except Exception as error:
        wire.send(["error", f"{type(error).__name__}: {error}"[:2000]])


if __name__ == "__main__":
    main()
