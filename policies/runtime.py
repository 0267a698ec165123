"""The sandbox's side: loads `policy.py` and serves reset, act and close over an inherited socket; or runs `train.py`.

    python -I -S runtime.py JSON        with {"mode": "serve" | "train", "path": sys.path entries, …}

`serve` needs "fd", "code", "checkpoint"; `train` needs "code", "argv", "nice". Requests are lists: ["reset", spec, seed],
["act", values], ["close"]; replies ["ok", …] or ["error", text]. Nothing here is trusted: the host checks every reply.
"""

from __future__ import annotations

import builtins
import gc
import importlib.util
import json
import os
import runpy
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

MAPPINGS: Final = frozenset({"action_low", "action_high", "max_step"})
"""Fields of a StationSpec that are mappings rather than records."""


def view(value: Any, field: str = "") -> Any:
    """JSON of a StationSpec as an object with the same attributes, without loading pydantic (100 ms)."""
    if isinstance(value, dict):
        parts = {key: view(part, key) for key, part in value.items()}
        return parts if field in MAPPINGS else SimpleNamespace(**parts)
    return tuple(view(part) for part in value) if isinstance(value, list) else value


def explain(error: BaseException, code: str) -> str:
    """One line: the exception, and where in the researcher's code it came from."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(code)]
    frames = frames or traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({Path(frames[-1].filename).name} line {frames[-1].lineno}, in {frames[-1].name})" if frames else ""
    if isinstance(error, SyntaxError):
        place = f" ({Path(error.filename or '?').name} line {error.lineno})"
    return f"{type(error).__name__}: {error}{place}"


def load(code: str, checkpoint: str) -> Any:
    """`make_policy(checkpoint)` of the researcher's `policy.py`."""
    path = os.path.join(code, "policy.py")
    found = importlib.util.spec_from_file_location("policy", path)
    if found is None or found.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(found)
    sys.modules["policy"] = module
    found.loader.exec_module(module)
    make = getattr(module, "make_policy", None)
    if not callable(make):
        raise TypeError("policy.py defines no function make_policy(checkpoint: Path) -> Policy")
    policy = make(Path(checkpoint))
    lacking = [name for name in ("reset", "act") if not callable(getattr(policy, name, None))]
    if lacking:
        raise TypeError(f"the object made by make_policy has no method {' and no '.join(lacking)}")
    return policy


def answer(policy: Any, request: list[Any]) -> list[Any]:
    """The reply to one request."""
    from nightlab.arrays import pack, unpack

    if request[0] == "act":
        chunk = policy.act(unpack(request[1]))
        if chunk is None:
            return ["ok", None]
        if not isinstance(chunk, Sequence) or isinstance(chunk, str | bytes):
            raise TypeError(f"act returns a list of actions or None, got {type(chunk).__name__}")
        return ["ok", [pack(action) for action in chunk]]
    if request[0] == "reset":
        policy.reset(view(request[1]), request[2])
        return ["ok", None]
    raise ValueError(f"unknown request {request[0]!r}")


def serve(order: dict[str, Any]) -> int:
    """Serve until the host closes the socket or says close."""
    from nightlab.framing import FramingError, recv, send

    connection, code = socket.socket(fileno=order["fd"]), order["code"]
    try:
        policy = load(code, order["checkpoint"])
    except BaseException as error:
        send(connection, ["error", explain(error, code)])
        return 1
    gc.collect()
    gc.freeze()  # an action does not wait for a walk over all that was imported
    send(connection, ["ok", os.getpid()])
    while True:
        try:
            request = recv(connection)
        except (EOFError, OSError, FramingError):
            return 0
        if request[0] == "close":
            close = getattr(policy, "close", None)
            if callable(close):
                close()
            return 0
        try:
            reply = answer(policy, request)
        except BaseException as error:
            reply = ["error", explain(error, code)]
        try:
            send(connection, reply)
        except FramingError as error:
            send(connection, ["error", str(error)])


def yield_session(nice: int) -> None:
    """As nightlab/priority.py, for the session that bwrap has made. The kernel takes one change in 0.1 s."""
    for _ in range(5):
        try:
            Path("/proc/self/autogroup").write_text(str(nice))
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:
            return
        else:
            return


def train(order: dict[str, Any]) -> int:
    """Run `train.py` as a script with the arguments of the order. It waits where a robot wants the processor."""
    yield_session(order["nice"])
    path = os.path.join(order["code"], "train.py")
    sys.argv = [path, *order["argv"]]
    for name in ("exit", "quit"):  # `site`, which normally defines them, is not loaded
        setattr(builtins, name, sys.exit)
    runpy.run_path(path, run_name="__main__")
    return 0


def main(argument: str) -> int:
    """Take the order, set the import path, do the work."""
    order = json.loads(argument)
    sys.path += [*order["path"], order["code"]]
    return serve(order) if order["mode"] == "serve" else train(order)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
