"""How far long work has come, on stderr: a line that is written over at a terminal, else a line every half minute."""

from __future__ import annotations

import sys
import time

EVERY_S = {True: 0.5, False: 30.0}
"""Wall seconds between two lines, at a terminal and elsewhere."""


class Progress:
    """`what 12/500, 35 s, about 110 s left`."""

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self.what, self.total, self.done = what, total, done
        self._first, self._begin_s, self._said_s = done, time.monotonic(), float("-inf")
        self._live = sys.stderr.isatty()

    def at(self, done: int) -> None:
        """Say how far it is, if it is time to say something or done."""
        now_s, self.done = time.monotonic(), done
        if now_s - self._said_s < EVERY_S[self._live] and done < self.total:
            return
        self._said_s = now_s
        print(self.text(now_s - self._begin_s), file=sys.stderr, end="\r" if self._live else "\n", flush=True)
        if self._live and done >= self.total:
            print(file=sys.stderr, flush=True)

    def text(self, spent_s: float) -> str:
        """The line after `spent_s` seconds."""
        made, line = self.done - self._first, f"{self.what} {self.done}/{self.total}, {spent_s:.0f} s"
        if made > 0 and self.done < self.total:
            line += f", about {spent_s * (self.total - self.done) / made:.0f} s left"
        return line + ("   " if self._live else "")
