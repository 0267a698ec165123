"""Every attack twice: with its defence it does not pay, and without that one defence it does."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import tests.cheating.table  # noqa: F401 (registers all attacks)
from nightlab.sandbox import probe
from tests.cheating.attack import ATTACKS
from tests.cheating.house import House

every_attack = pytest.mark.parametrize("name", ATTACKS)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with TemporaryDirectory(prefix="nl") as name:
        house = House(Path(name), probe().level)
        before = os.environ.get("NIGHTLAB_LAB")
        try:
            yield house
        finally:
            house.close()
            os.environ.pop("NIGHTLAB_LAB", None)
            if before is not None:
                os.environ["NIGHTLAB_LAB"] = before


@every_attack
def test_attack_fails(house: House, name: str) -> None:
    tried = asyncio.run(ATTACKS[name].run(house, True))
    assert not tried.succeeded, f"the attack {name!r} succeeded: {tried.said}"
    assert re.search(ATTACKS[name].says, tried.said), f"{name}: {tried.said}"


@every_attack
def test_positive_control(house: House, name: str) -> None:
    tried = asyncio.run(ATTACKS[name].run(house, False))
    assert tried.succeeded, f"without its defence the attack {name!r} ought to succeed: {tried.said}"
