"""TCP ports of a lab: chosen when free, then kept, so that addresses survive restarts and two labs do not collide."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping

from commands.lab_state import read_json, write_whole
from data.lab import Lab
from nightlab.errors import LabError


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose(lab: Lab, wanted: Mapping[str, int]) -> dict[str, int]:
    """A port for each name: the one declared, else the one it had last time if that is free, else a free one.

    Args:
        lab: Where the choice is kept (`run/ports.json`).
        wanted: Port by name as `lab.yaml` declares it; 0 = any.

    Raises:
        LabError: if a declared port is taken.
    """
    path = lab.run_dir / "ports.json"
    kept = read_json(path)
    chosen: dict[str, int] = {}
    for name, port in wanted.items():
        if port and not is_free(port):
            raise LabError(
                f"port {port} of {name} is taken by another process. Free it, or set another one (0 = any) for "
                f"{name} in {lab.config_path}"
            )
        last = kept.get(name)
        if not port and isinstance(last, int) and last not in chosen.values() and is_free(last):
            port = last
        chosen[name] = port or _free_port(set(chosen.values()))
    write_whole(path, json.dumps(chosen, indent=2))
    return chosen


def _free_port(taken: set[int]) -> int:
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
