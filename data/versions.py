"""DVC of a lab, in-process: importing DVC once costs half a second, adding a shard then 50 ms."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nightlab.errors import LabError

RETRY_S = 30.0
"""How long to wait for another DVC process that holds the repository's lock."""

Answer = TypeVar("Answer")


class Versions:
    """The DVC repository of a lab. Only the recorder adds to it; git is left to the keeper."""

    def __init__(self, path: Path, *, retry_s: float = RETRY_S) -> None:
        self.path = path
        self.retry_s = retry_s

    def add(self, targets: Sequence[str]) -> list[str]:
        """Version files or folders; returns their pointer files relative to the lab.

        Raises:
            LabError: DVC refused, or its lock was held for `retry_s`.
        """
        if not targets:
            return []
        absolute = [str(self.path / target) for target in targets]
        self._with_lock(lambda repo: repo.add(absolute), f"dvc add {' '.join(targets)}")
        return [f"{target}.dvc" for target in targets]

    def status(self) -> dict[str, Any]:
        """What differs between workspace and pointers, by pointer file in the lab; empty when clean."""
        found = self._with_lock(lambda repo: repo.status(), "dvc status")
        return {os.path.relpath(os.path.abspath(name), self.path): changes for name, changes in found.items()}

    def checkout(self, targets: Sequence[str]) -> None:
        """Bring back the versions that the pointer files name."""
        absolute = [str(self.path / f"{target}.dvc") for target in targets]
        self._with_lock(lambda repo: repo.checkout(absolute, force=True), f"dvc checkout {' '.join(targets)}")

    def open(self) -> Any:
        """A fresh `dvc.repo.Repo` (12 ms): one that was used before answers `status` from its cache."""
        private = self.path / "run" / "dvc"
        private.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("DVC_NO_ANALYTICS", "1")
        for name in ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "DVC_SITE_CACHE_DIR"):
            os.environ.setdefault(name, str(private))
        from dvc.repo import Repo

        logging.getLogger("dvc").setLevel(logging.ERROR)
        return Repo(str(self.path))

    def _with_lock(self, action: Callable[[Any], Answer], what: str) -> Answer:
        deadline_s, pause_s = time.monotonic() + self.retry_s, 0.05
        while True:
            try:
                with _quiet(), contextlib.closing(self.open()) as repo:
                    return action(repo)
            except Exception as error:
                from dvc.exceptions import DvcException
                from dvc.lock import LockError

                if isinstance(error, LockError) and time.monotonic() < deadline_s:
                    time.sleep(pause_s)
                    pause_s = min(1.0, 2 * pause_s)
                    continue
                if isinstance(error, DvcException | OSError):
                    raise LabError(
                        f"{what} in {self.path} failed: {error}. Look at it with: cd {self.path} && dvc status"
                    ) from error
                raise


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """DVC writes hints for people to stdout."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
