"""The order of stations for people: `robot-2` before `robot-10`."""

from __future__ import annotations

import re
from collections.abc import Iterable


def in_order(names: Iterable[str]) -> list[str]:
    """Each name once; numbers in names count as numbers."""
    return sorted(set(names), key=_parts)


def _parts(name: str) -> list[int | str]:
    """Text, number, text, …: texts are compared with texts, numbers with numbers."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]
