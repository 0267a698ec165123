"""`nightlab benchmark NAME`: measurements of nightlab itself on this host. One file per measurement; nothing is imported here.

Each prints one JSON object with `--json`, says what it left out (warm-up) and is run on a quiet machine.
"""

from __future__ import annotations

VERBS: dict[str, tuple[str, str]] = {
    "estop": ("commands.benchmark_estop:estop", "From the call of an e-stop to the last motion command."),
    "loop": ("commands.benchmark_loop:loop", "Round trip and late actions of the control loop at 100 Hz."),
    "mru": ("commands.benchmark_mru:mru", "Robot utilisation with a researcher that thinks by the clock."),
}
"""Measurement → where its function is, and its line of help; see `commands.main.GROUPS`."""
