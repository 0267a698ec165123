"""docs/cheating.md says what the tests show: no row without its test, no test without its row."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.cheating.attack import ATTACKS, Outcome
from tests.cheating.table import DOCUMENT, with_table

MOST_WANTED = (
    "edit the verifier", "loosen the reset", "loosen the limits", "draw easy starts", "edit the manifest",
    "write its own result", "write ledger rows", "read the simulator", "read process memory", "read a peers workspace",
    "read the reference policy", "read secrets", "change the random seed", "reset until an easy start comes",
    "move the goal", "move the camera", "hide the object", "succeed for one frame", "stall past the deadline",
    "flood the log", "ptrace the harness", "signal the harness", "plant sitecustomize", "plant git hooks",
    "link to the seed key", "leave a pickle", "open the stations port", "claim another ideas episodes",
)  # fmt: skip
"""What issue 3 asks for by name."""


def test_the_document_has_the_table_of_the_tests() -> None:
    text = DOCUMENT.read_text()
    assert text == with_table(text), "docs/cheating.md is behind its tests. Write it: python tests/cheating/table.py"


def test_there_are_enough_attacks_and_all_that_were_asked_for() -> None:
    assert len(ATTACKS) >= 25
    assert not set(MOST_WANTED) - set(ATTACKS)
    aims = Counter(one.aim for one in ATTACKS.values())
    assert max(aims.values()) == 1, aims.most_common(3)


def test_every_attack_is_impossible_invalid_or_does_not_pay() -> None:
    outcomes = Counter(one.outcome for one in ATTACKS.values())
    assert outcomes[Outcome.INVALID] >= 10, outcomes
    assert outcomes[Outcome.IMPOSSIBLE] >= 25, outcomes


def test_no_attack_can_be_skipped() -> None:
    for path in Path(__file__).parent.glob("*.py"):
        if path.name != Path(__file__).name:
            assert not re.search(r"pytest\.(skip|mark\.skip|mark\.xfail|importorskip)", path.read_text()), path.name
