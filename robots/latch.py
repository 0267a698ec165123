"""The latch of the e-stop: a file, so that a station server that was killed comes back stopped."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class Latch:
    """Keeps the reason of the e-stop over restarts.

    Args:
        path: the file; None: nothing is kept.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def read(self) -> str:
        """Reason of the e-stop that held when the server ended; empty: none."""
        if self._path is None:
            return ""
        try:
            return self._path.read_text(errors="replace").strip() or "latched before the restart"
        except FileNotFoundError:
            return ""
        except OSError as error:
            return f"the latch file {self._path} cannot be read ({error.strerror}), so the station stays stopped"

    def set(self, reason: str) -> None:
        """Write it down, on a full disk too if it can be: the robot has been stopped already."""
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("w") as file:
                file.write(reason)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            said = f"the e-stop will not outlast a restart: {self._path}: {error.strerror}"
            print(said, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Forget it. Raises OSError if the file cannot be removed: then the e-stop stays."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
