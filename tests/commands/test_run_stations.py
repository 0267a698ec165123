import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commands.main import app
from commands.run import check_address, declared_stations, open_lab, read_speed, served_speed, told_busy
from commands.services import plan
from commands.station_speed import campaign_speed
from data.lab import Lab
from nightlab.cards import card
from nightlab.errors import UsageError
from nightlab.records import CampaignSpec, CellConfig, LabConfig, StationConfig
from robots.station import Station


@pytest.mark.parametrize("address", ["10.0.0.2:50051", "cell-3.example:50051", "unix:/run/cell.sock"])
def test_an_address_of_a_station(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize("address", ["10.0.0.2", ":50051", "host:port", "host:0", "host:70000"])
def test_no_address_is_one_clear_line(address: str) -> None:
    with pytest.raises(UsageError, match=r"an address HOST:PORT is needed. Try: --station 10.0.0.2:50051"):
        check_address(address)


def test_stations_elsewhere_are_part_of_the_lab_and_started_by_nobody(tmp_path: Path) -> None:
    lab = open_lab(tmp_path / "lab", CampaignSpec(stations=3), ["10.9.9.9:1", "10.9.9.8:1"], "/keys/lab")
    assert [(s.station, s.remote, s.keys) for s in lab.config.stations] == [
        ("robot-1", False, ""), ("robot-2", True, "/keys/lab"), ("robot-3", True, "/keys/lab"),
    ]  # fmt: skip
    made = plan(lab, lab.config)
    assert {service.station for service in made.services} == {"", "robot-1"}
    assert [(place.address, place.keys, place.admin_socket) for place in made.places[1:]] == [
        ("10.9.9.9:1", "/keys/lab", None), ("10.9.9.8:1", "/keys/lab", None),
    ]  # fmt: skip
    assert declared_stations(lab.path) == lab.config.stations, (
        "nightlab run without --stations takes what lab.yaml declares"
    )


def test_a_lab_of_simulated_stations_declares_none(tmp_path: Path) -> None:
    assert declared_stations(tmp_path / "none") == ()
    Lab.create(tmp_path / "lab", LabConfig(stations=(StationConfig(station="robot-1"),)))
    assert declared_stations(tmp_path / "lab") == ()


def test_the_speed_that_nobody_names_is_the_environments() -> None:
    assert read_speed("", "pin_insertion") == card("pin_insertion").speed == 8.0
    assert read_speed("", "push_t") == 10.0
    assert read_speed("max", "push_t") == 0.0
    with pytest.raises(UsageError, match=r"--speed 'fast': a factor above 0 .* or max is needed. Try: --speed 10"):
        read_speed("fast", "push_t")


@contextmanager
def served(speed: float) -> Iterator[str]:
    """Address of a station with a speed of its own."""
    station = Station(CellConfig(station="bench", driver="echo", config={"speed": speed}))
    try:
        yield station.address
    finally:
        station.stop(0.2)


def asked(monkeypatch: pytest.MonkeyPatch, *words: str) -> CampaignSpec:
    """The campaign that `nightlab run push_t WORDS` would start."""
    specs: list[CampaignSpec] = []

    async def noted(_: Path, spec: CampaignSpec, *__: object, **___: object) -> None:
        specs.append(spec)

    monkeypatch.setattr("commands.run._run", noted)
    with pytest.raises(SystemExit) as left:
        app(["run", "push_t", *words])
    assert left.value.code in (0, None)
    return specs[0]


def test_a_campaign_at_served_stations_alone_takes_their_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = "127.0.0.1:1"
    new = ("--lab", str(tmp_path / "new"))
    assert asked(monkeypatch, "--station", none, *new).speed == 1.0, "a real robot's, also while it is not there yet"
    assert asked(monkeypatch, "--station", none, "--speed", "4", *new).speed == 4.0
    assert asked(monkeypatch, "--stations", "1", "--station", none, *new).speed == 10.0, "simulated ones of its own too"
    with served(1) as real, served(5) as simulated, served(0) as free:
        assert asked(monkeypatch, "--station", real, *new).speed == 1.0
        assert asked(monkeypatch, "--station", simulated, *new).speed == 5.0
        assert asked(monkeypatch, "--station", simulated, "--speed", "5", *new).speed == 5.0
        assert asked(monkeypatch, "--station", free, "--station", simulated, *new).speed == 5.0, "the slowest"
        there = StationConfig(station="robot-1", address=simulated, remote=True)
        lab = Lab.create(tmp_path / "lab", LabConfig(stations=(there,)))
        spec = asked(monkeypatch, "--lab", str(lab.path))
        assert (spec.stations, spec.speed) == (1, 5.0), "lab.yaml gives the addresses"
        lab.write_config(LabConfig(stations=(StationConfig(station="robot-2"), there)))
        assert asked(monkeypatch, "--lab", str(lab.path)).speed == 10.0


def test_a_campaign_started_in_the_ui_takes_the_speed_of_its_stations(tmp_path: Path) -> None:
    def speed(*stations: StationConfig) -> float:
        return asyncio.run(campaign_speed(stations))

    ours = StationConfig(station="robot-1", speed=7.0)
    away = StationConfig(station="bench", address="127.0.0.1:1", remote=True)
    with served(1) as real, served(5) as simulated:
        there = [StationConfig(station=f"b{port[-4:]}", address=port, remote=True) for port in (real, simulated)]
        assert speed(*there) == 1.0, "the slowest"
        assert speed(there[1], away) == 5.0
        assert speed(there[1], ours) == 7.0, "what lab.yaml gives the lab's own"
    assert speed(away) == 1.0, "a real robot's, also while it is not there yet"
    assert speed(away.model_copy(update={"keys": str(tmp_path / "none")})) == 1.0, "the lab comes up all the same"


def test_a_speed_that_served_stations_do_not_have_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(1) as real:
        with pytest.raises(SystemExit) as left:
            app(["run", "push_t", "--station", real, "--speed", "10", "--lab", str(tmp_path / "lab")])
        assert left.value.code == 2
    assert capsys.readouterr().err == (
        f"nightlab: --speed 10: the station at {real} runs at speed 1, which its own server sets. "
        "Leave --speed out: a campaign takes the speed of its stations\n"
    )
    with served(0) as free, pytest.raises(UsageError, match=r"--speed 10: the station at \S+ runs at speed max, "):
        served_speed("10", "push_t", {free: ""})
    assert not (tmp_path / "lab").exists()


def test_a_run_ends_with_how_busy_the_robots_were_or_why_that_is_not_told() -> None:
    assert told_busy({"mru": 0.938, "mru_reason": ""}) == "busy 94% of the time"
    slow = {"mru": None, "mru_reason": "the host was too slow: 6.42× of 8× real time achieved"}
    assert told_busy(slow) == "how busy is not stated: the host was too slow: 6.42× of 8× real time achieved"
