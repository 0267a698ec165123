"""`nightlab benchmark NAME`: measurements of nightlab itself on this host. One file per measurement; nothing is imported here.

Each prints one JSON object with `--json`, says what it left out (warm-up) and is run on a quiet machine.
"""

from __future__ import annotations

VERBS: dict[str, tuple[str, str]] = {}
"""Measurement → where its function is, and its line of help; see `commands.main.GROUPS`."""
