"""`nightlab status` of stations: what went wrong there, in a lab and outside every one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import stations_up

from commands.main import app
from data.lab import Lab
from nightlab.records import CellConfig, StationPlace
from robots.client import StationClient
from robots.keys import make_keys
from robots.station import Station
from robots.stats import StationStats


def call(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        app(words)
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Station]:
    """A station that wants a token and says that a few things went wrong there."""
    make_keys(tmp_path / "k", [], ["lab-a"])
    (tmp_path / "k/lab-a/ca.pem").unlink()  # loopback without TLS: the token alone
    stats = StationClient.stats

    async def troubled(client: StationClient) -> StationStats:
        counted = {"periods": 5200, "late": 7, "faults": 3, "protective_stops": 2}
        return (await stats(client)).model_copy(update=counted)

    monkeypatch.setattr(StationClient, "stats", troubled)
    config = CellConfig(station="bench", driver="echo", tokens="k/server/tokens.yaml", folder=tmp_path)  # type: ignore[arg-type]
    station = Station(config)
    try:
        yield station
    finally:
        station.stop(0.2)


COUNTS = {"periods": 5200, "late": 7, "faults": 3, "protective_stops": 2}


def test_a_station_outside_every_lab(
    bench: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    where = ("--address", bench.address, "--keys", str(tmp_path / "k/lab-a"))
    code, out, _ = call("status", *where, "--json", capsys=capsys)
    (row,) = json.loads(out)["stations"]
    assert (code, row["answers"], row["kind"]) == (0, True, "echo")
    assert {name: row[name] for name in COUNTS} == COUNTS
    code, out, _ = call("status", *where, capsys=capsys)
    head, told, counts = out.splitlines()
    assert (code, head.split()) == (0, ["address", "what", "lease", "doing", "periods"])
    assert "echo at 1×" in told
    assert told.split()[-1] == "5200"
    assert counts == f"{bench.address}: late 7, faults 3, protective stops 2"
    bench.cell.controller.estop("smoke in the cell")
    _, out, _ = call("status", *where, capsys=capsys)
    assert out.splitlines()[1].split()[-2:] == ["E-STOP", "5200"], "whole, also on 80 columns"
    assert out.splitlines()[-1] == f"E-STOP at {bench.address}: smoke in the cell"


def test_a_station_that_refuses_or_is_not_there_is_one_clear_line(
    bench: Station, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call("status", "--address", bench.address, capsys=capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "token" in err
    code, _, err = call("status", "--address", bench.address, "--keys", str(tmp_path / "none"), capsys=capsys)
    assert (code, "make them at the station: nightlab station keys DIR" in err) == (2, True)
    code, out, err = call("status", "--address", "127.0.0.1:1", "--json", capsys=capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no station answers at 127.0.0.1:1" in err


def test_stations_of_a_lab_tell_faults_and_late_actions(
    lab: Lab, bench: Station, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = (
        StationPlace(station="bench", address=bench.address, keys=str(tmp_path / "k/lab-a")),
        StationPlace(station="far", address="127.0.0.1:1"),
    )
    stations_up(lab, *places)
    code, out, _ = call("status", "--lab", str(lab.path), "--json", capsys=capsys)
    near, far = json.loads(out)["stations"]
    assert (code, {name: near[name] for name in COUNTS}) == (0, COUNTS)
    assert far["answers"] is False
    assert "no station answers at 127.0.0.1:1" in far["error"]
    _, out, _ = call("status", "--lab", str(lab.path), capsys=capsys)
    head, told = (line for line in out.splitlines() if line.startswith(("station ", "bench ")))
    assert head.split() == ["station", "address", "what", "lease", "doing", "periods"], "also on 80 columns"
    assert told.split()[-1] == "5200"
    assert "bench: late 7, faults 3, protective stops 2" in out.splitlines()


def test_a_station_that_hangs_says_for_how_long_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from commands.status import stations

    async def hang(*_: object, **__: object) -> StationClient:
        raise TimeoutError

    monkeypatch.setattr(StationClient, "connect", hang)
    (row,) = asyncio.run(stations((StationPlace(station="bench", address="10.0.0.9:5555"),)))
    assert row["error"] == "the station at 10.0.0.9:5555 did not answer within 1.5 s"
