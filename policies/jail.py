"""What of nightlab a policy may see in its sandbox: the runtime, the library and what they import. Nothing else."""

from __future__ import annotations

import importlib.util
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nightlab import cards
from nightlab.sandbox import Level, Limits, Sandbox

ROOT: Final = Path(__file__).resolve().parents[1]
APP: Final = "/app"
"""Where the runtime is mounted."""
VISIBLE: Final = (
    "nightlab/__init__.py", "nightlab/arrays.py", "nightlab/contracts.py", "nightlab/errors.py", "nightlab/framing.py",
    "nightlab/geometry.py", "nightlab/records", "nightlab/skills", "policies/__init__.py", "policies/runtime.py",
    "policies/library",
)  # fmt: skip


def visible_files() -> list[tuple[Path, str]]:
    """(path on the host, path relative to the app) of what is mounted, compiled files included where they exist.

    The libraries of environments from elsewhere are mounted under their own names.
    """
    found = [(ROOT / name, name) for name in VISIBLE if (ROOT / name).exists()]
    found += [(path, path.name) for path in cards.outside_libraries()]
    for source, name in list(found):
        if source.suffix == ".py":
            compiled = Path(importlib.util.cache_from_source(str(source)))
            if compiled.is_file():
                found.append((compiled, str(Path(name).parent / "__pycache__" / compiled.name)))
    return found


class Jail:
    """A sandbox with the policy runtime in it. `close` removes what it made on the host."""

    def __init__(self, level: Level | None = None) -> None:
        self.sandbox = Sandbox(level)
        self._private: Path | None = None

    @property
    def level(self) -> Level:
        """The level of containment."""
        return self.sandbox.level

    def argv(
        self,
        order: Mapping[str, Any],
        *,
        read_only: list[tuple[Path, str]],
        read_write: list[tuple[Path, str]] | None = None,
        limits: Limits,
    ) -> list[str]:
        """The argv that runs `policies/runtime.py` with `order` inside; `cwd` is the order's code directory."""
        app, mounts, writes = self._app(), list(read_only), list(read_write or [])
        env: dict[str, str] = {}
        if self.level == "bwrap":
            mounts += [(host, f"{APP}/{name}") for host, name in visible_files()]
        else:  # no mounts: the files were copied, and /tmp is a private directory
            mounts.append((Path(app), app))
            writes.append((self._tmp(), ""))
            env = {"TMPDIR": str(self._tmp()), "HOME": str(self._tmp())}
        full = {**order, "path": [*self.sandbox.site_packages(), app]}
        return self.sandbox.wrap(
            [*self.sandbox.python(), f"{app}/policies/runtime.py", json.dumps(full)],
            read_only=mounts,
            read_write=writes,
            cwd=str(order["code"]),
            env=env,
            limits=limits,
        )

    def _app(self) -> str:
        if self.level == "bwrap":
            return APP
        app = self._directory() / "app"
        for host, name in visible_files():
            target = app / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if host.is_dir():
                shutil.copytree(host, target)
            else:
                shutil.copy2(host, target)
        return str(app)

    def _tmp(self) -> Path:
        path = self._directory() / "tmp"
        path.mkdir(exist_ok=True)
        return path

    def _directory(self) -> Path:
        if self._private is None:
            self._private = Path(tempfile.mkdtemp(prefix="nightlab-jail-")).resolve()
        return self._private

    def close(self) -> None:
        """Remove the private directory. The process must have ended."""
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)
            self._private = None
