"""The trusted process that judges episodes, alone with its code: no policy, no researcher, no network.

    python -m environments.verifier_process --socket PATH --ready-file FILE

It checks each environment's manifest before it loads the verifier, refuses to start if a frozen file of this project was
changed, and answers over a Unix socket (mode 0600): one framed msgpack request, one reply. SIGTERM ends it. An installed
environment whose code is not the frozen one is not loaded, and requests for it are refused; the others are judged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from environments import REGISTRY, make_verifier, names
from environments.evidence import from_message
from environments.manifest import check
from nightlab.contracts import Verifier
from nightlab.errors import NightlabError, ServiceError, TamperError, UsageError
from nightlab.framing import FramingError, read_frame, write_frame
from nightlab.heartbeat import beating


class VerifierServer:
    """Verifiers of all environments behind one socket. Requests are judged one at a time, in order of arrival."""

    def __init__(self) -> None:
        self.manifests: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._verifiers: dict[str, Verifier] = {}
        for name in names():
            try:
                self.manifests[name] = check(name)
            except NightlabError as error:
                if name in REGISTRY:
                    raise
                self.refused[name] = str(error)
                print(f"nightlab: verifier: leaves out {name}: {error}", file=sys.stderr, flush=True)
            else:
                self._verifiers[name] = make_verifier(name, self.manifests[name])

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to one request: `{"verdict": …}`, `{"manifests": …}` or `{"error": text, "kind": class name}`."""
        try:
            match request.get("call"):
                case "ping":
                    return {"manifests": self.manifests, "pid": os.getpid()}
                case "verify":
                    return {"verdict": self._verify(request).model_dump(mode="json")}
                case other:
                    raise UsageError.unknown("call", str(other), ("ping", "verify"), "VerifierClient.verify")
        except NightlabError as error:
            return {"error": str(error), "kind": type(error).__name__}
        except Exception as error:  # a verifier that breaks must say so and go on judging others
            return {"error": f"the verifier failed: {type(error).__name__}: {error}", "kind": "ServiceError"}

    def _verify(self, request: dict[str, Any]) -> Any:
        evidence = from_message(request)
        if evidence.environment in self.refused:
            raise TamperError(self.refused[evidence.environment])
        verifier = self._verifiers.get(evidence.environment)
        if verifier is None:
            raise UsageError.unknown("environment", evidence.environment, self._verifiers, "nightlab environment list")
        return verifier.verify(evidence)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the other side closes it or sends what is no frame."""
        try:
            with contextlib.suppress(EOFError, FramingError, ConnectionError):
                while True:
                    request = await read_frame(reader)
                    await write_frame(writer, self.answer(request if isinstance(request, dict) else {}))
        finally:
            writer.close()


async def run(socket_path: Path, ready_file: Path, heartbeat_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises ServiceError if another process answers on the socket."""
    server = VerifierServer()
    _free(socket_path)
    before = os.umask(0o177)
    try:
        listening = await asyncio.start_unix_server(server.serve, socket_path)
    finally:
        os.umask(before)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    ready = {"socket": str(socket_path), "pid": os.getpid(), "manifests": server.manifests}
    partial = ready_file.with_name(ready_file.name + ".part")
    partial.write_text(json.dumps(ready), encoding="utf-8")
    partial.replace(ready_file)
    heart = asyncio.create_task(beating(heartbeat_file))
    await stop.wait()
    heart.cancel()
    listening.close()
    socket_path.unlink(missing_ok=True)


def _free(path: Path) -> None:
    """Remove a socket that a dead process left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise ServiceError(f"another verifier answers on {path}; stop it first: nightlab down")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m environments.verifier_process", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to answer on")
    parser.add_argument("--ready-file", type=Path, required=True, help="JSON written when it serves")
    parser.add_argument("--heartbeat-file", type=Path, help="touched every second while it makes progress")
    options = parser.parse_args(arguments)
    import cv2

    cv2.setNumThreads(1)
    try:
        asyncio.run(run(options.socket, options.ready_file, options.heartbeat_file))
    except (NightlabError, OSError) as error:
        print(f"nightlab: verifier: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
