"""`nightlab estop` stops first, from the lab's path and `run/state.json` alone, and asks about the rest of the lab later."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import stations_up

from commands.main import app
from data.lab import Lab
from nightlab.records import CellConfig, StationPlace
from robots.client import StationClient
from robots.station import Station


def call(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        app(words)
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def latched(address: str) -> str:
    async def ask() -> str:
        client = await StationClient.connect(address)
        try:
            return (await client.stats()).estop
        finally:
            await client.close()

    return asyncio.run(ask())


@pytest.fixture
def bench(lab: Lab) -> Iterator[StationPlace]:
    """The lab's only station, a real one that is served elsewhere."""
    station = Station(CellConfig(station="bench", driver="echo"))
    place = StationPlace(station="bench", address=station.address)
    try:
        stations_up(lab, place)
        yield place
    finally:
        station.stop(0.2)


def break_settings(lab: Lab) -> None:
    lab.config_path.write_text("stations: [")


def break_encoding(lab: Lab) -> None:
    lab.config_path.write_bytes(b"\xff\xfe\xfa")


def break_ledger(lab: Lab) -> None:
    lab.ledger_path.write_bytes(b"this is no longer a ledger " * 50)


def break_git(lab: Lab) -> None:
    (lab.path / ".git" / "HEAD").unlink()


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (break_settings, "is not a valid lab.yaml"),
        (break_encoding, "can't decode"),
        (break_ledger, "is not readable: file is not a database"),
        (break_git, "the git repository of the lab"),
    ],
)
def test_a_broken_lab_stops_its_robots_and_says_that_the_ledger_does_not_know(
    harm: object, why: str, lab: Lab, bench: StationPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(harm)
    harm(lab)
    code, out, err = call("estop", "--lab", str(lab.path), "--reason", "smoke", capsys=capsys)
    assert (code, out.startswith("bench stopped (")) == (0, True), err
    assert latched(bench.address) == "smoke"
    assert err.startswith("stopped, but the ledger does not know of it: ")
    assert why in err
    assert err.count("\n") == 1, "one line"


def test_a_station_that_does_not_answer_is_told_before_the_lab_is_asked(
    lab: Lab, bench: StationPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    stations_up(lab, bench, StationPlace(station="far", address="127.0.0.1:1"))
    break_settings(lab)
    code, out, err = call("estop", "--lab", str(lab.path), capsys=capsys)
    assert (code, out.startswith("bench stopped (")) == (2, True)
    first, second = err.splitlines()
    assert first.startswith("nightlab: far did not answer: ")
    assert "If it moves, cut its power" in first
    assert second.startswith("stopped, but the ledger does not know of it: ")


@pytest.mark.parametrize("content", [None, b"{", b"\xff\xfe\xfa"])
def test_without_a_readable_state_it_names_what_stops_a_station_by_its_address(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lab"
    if content is not None:
        (path / "run").mkdir(parents=True)
        (path / "run" / "state.json").write_bytes(content)
    code, _, err = call("estop", "--lab", str(path), capsys=capsys)
    assert code == 2
    assert err == (
        f"nightlab: no station of {path} is known: {path}/run/state.json names none, is missing or cannot be read. "
        "Stop each station at its address: nightlab estop --address HOST:PORT\n"
    )
