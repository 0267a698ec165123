"""The table of docs/cheating.md, from the attacks themselves. To write it anew: python tests/cheating/table.py"""

from __future__ import annotations

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "cheating.md"
BEGIN, END = "<!-- table: python tests/cheating/table.py -->", "<!-- end of the table -->"
if "tests" not in sys.modules or __name__ == "__main__":  # some installed package is called `tests`, too
    package = types.ModuleType("tests")
    package.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = package
    sys.path.insert(0, str(ROOT))

from tests.cheating import (  # noqa: E402
    by_policy,
    by_policy_process,
    by_researcher,
    by_training,
    in_episode,
    in_frozen_code,
    in_lab,
)
from tests.cheating.attack import ATTACKS  # noqa: E402

GROUPS = (by_policy, by_policy_process, by_training, by_researcher, in_episode, in_frozen_code, in_lab)


def table() -> str:
    """One row per attack, in the order of the files; they are numbered."""
    rows = [
        "| # | attack | by | defence | outcome | positive control: without it, the attack succeeds |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {number} | **{one.name}**: {one.aim} | {one.by} | {one.defence} | {one.outcome.value} | {one.control} |"
        for number, one in enumerate(ATTACKS.values(), 1)
    ]
    return "\n".join(rows)


def with_table(text: str) -> str:
    """The document with its table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
    print(f"{len(ATTACKS)} attacks in {DOCUMENT}")
