"""`nightlab station …`, and what ledger and Prefect hear of an e-stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from commands.estop import stop_stations
from commands.main import app
from commands.station_watch import CLEARED, ESTOPPED, Standing, StationWatch
from data.ledger import LedgerReader, SqliteLedger
from nightlab.records import CellConfig, Event, StationPlace
from robots.client import StationClient
from robots.keys import make_keys
from robots.station import Station


def call(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        app(words)
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def written(folder: Path, **more: object) -> Path:
    path = folder / "station.yaml"
    path.write_text(json.dumps({"station": "bench", "driver": "echo", **more}))
    return path


@contextmanager
def served(**more: Any) -> Iterator[Station]:
    token = more.pop("operator_token", "")
    station = Station(CellConfig.model_validate({"station": "bench", "driver": "echo", **more}), operator_token=token)
    try:
        yield station
    finally:
        station.stop(0.2)


def test_keys_then_check_then_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(
        "station", "keys", str(tmp_path / "k"), "--host", "10.0.0.7", "--holder", "lab-a", capsys=capsys
    )
    assert code == 0
    assert "tokens.yaml" in out
    assert (tmp_path / "k" / "lab-a" / "token").stat().st_mode & 0o077 == 0, "for its owner alone"
    again = (tmp_path / "k" / "lab-a" / "token").read_text()
    make_keys(tmp_path / "k", ["10.0.0.7"], ["lab-a", "lab-b"])
    assert (tmp_path / "k" / "lab-a" / "token").read_text() == again, "what there is stays"
    tls = {"ca": "k/server/ca.pem", "certificate": "k/server/server.pem", "key": "k/server/server.key"}
    reach = {"address": "0.0.0.0:5000", "tls": tls, "tokens": "k/server/tokens.yaml"}
    limits = {
        "joints": {"joint": {"hard_low": [-2] * 6, "soft_low": [-1] * 6, "soft_high": [1] * 6, "hard_high": [2] * 6}}
    }
    code, out, _ = call("station", "check", str(written(tmp_path, limits=limits, **reach)), "--json", capsys=capsys)
    facts = json.loads(out)
    assert (code, facts["tls"], facts["tokens"], facts["monitored"], facts["rate_hz"]) == (0, True, True, True, 100.0)
    (tmp_path / "k/server/server.key").unlink()
    code, _, err = call("station", "check", str(written(tmp_path, **reach)), capsys=capsys)
    assert code == 2
    assert "no file" in err
    assert "nightlab station keys" in err
    code, _, err = call("station", "serve", str(written(tmp_path, address="0.0.0.0:5000")), capsys=capsys)
    assert code == 2
    assert "which other machines reach, without tls and tokens" in err
    assert err.count("\n") == 1, "one clear line"


def test_keys_do_not_go_into_a_lab(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lab.yaml").touch()
    code, _, err = call("station", "keys", str(tmp_path / "keys"), capsys=capsys)
    assert code == 2
    assert "choose a folder outside it" in err


def test_check_finds_a_robot_beyond_its_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, config={"press_N": 90}, limits={"max_force_N": {"wrench": 30}})
    code, _, err = call("station", "check", str(path), capsys=capsys)
    assert code == 2
    assert "stands outside its limits: force at 'wrench' is 90 N" in err
    code, out, _ = call("station", "check", str(path), "--no-hardware", capsys=capsys)
    assert code == 0
    assert "the hardware was not looked at" in out


def test_estop_and_clear_of_a_station_without_a_lab(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_keys(tmp_path / "k", [], ["lab-a"])
    holder, operator = str(tmp_path / "k/lab-a"), str(tmp_path / "k/operator")
    with served(tokens=tmp_path / "k/server/tokens.yaml", folder=tmp_path) as station:
        for part in ("ca.pem",):  # loopback without TLS: the tokens alone
            (tmp_path / "k/lab-a" / part).unlink()
            (tmp_path / "k/operator" / part).unlink()
        code, out, _ = call("estop", "--address", station.address, "--keys", holder, capsys=capsys)
        assert (code, "stopped" in out) == (0, True)
        code, _, err = call("station", "clear", station.address, "--keys", holder, capsys=capsys)
        assert (code, "lab-a is no operator" in err) == (2, True)
        code, out, _ = call("station", "clear", station.address, "--keys", operator, capsys=capsys)
        assert (code, "it was stopped by: nightlab estop" in out) == (0, True)


class Keeper:
    """Writes straight into a ledger."""

    def __init__(self, path: Path) -> None:
        self.ledger = SqliteLedger(path)

    async def append(self, event: Event) -> None:
        self.ledger.append(event)


def test_ledger_and_prefect_hear_of_an_estop_once_and_the_campaign_goes_on(tmp_path: Path) -> None:
    from data.campaign_state import CampaignState
    from nightlab.records import CampaignSpec

    class HalfLab:
        ledger_path = tmp_path / "ledger.db"

    keeper, told = Keeper(HalfLab.ledger_path), []
    spec = CampaignSpec(campaign="C1")
    keeper.ledger.append(
        Event(event_id="c", kind="campaign_started", campaign="C1", wall_s=1.0, data=spec.model_dump(mode="json"))
    )

    def parked() -> dict[str, str]:
        return CampaignState.from_events(spec, LedgerReader(HalfLab.ledger_path).events(campaign="C1")).parked

    with served(operator_token="secret") as station:
        place = StationPlace(station="bench", address=station.address)

        async def run() -> None:
            standing = Standing(HalfLab.ledger_path)

            def watch() -> StationWatch:
                return StationWatch(standing, place, keeper, lambda *what: told.append(what))  # type: ignore[arg-type]

            one, two = watch(), watch()
            await one.look()
            assert told == [], "nothing happened yet"
            assert await stop_stations((place,), "smoke", say=None) == {}
            for eye in (one, two, one):
                await eye.look()
            assert "e-stop: smoke" in parked()["bench"], "the station waits for a person, the others go on"
            assert len([e for e in LedgerReader(HalfLab.ledger_path).events() if e.kind == "estop"]) == 1, (
                "written once"
            )
            assert told[0] == (ESTOPPED, "bench", {"campaign": "C1", "reason": "smoke"})
            assert "only an operator" in (await stop_stations((place,), "", clear=True, say=None))["bench"]
            assert await stop_stations((place,), "", clear=True, token="secret", say=None) == {}
            await one.look()
            assert parked() == {}, "and works again once it is cleared"
            assert told[-1] == (CLEARED, "bench", {"campaign": "C1"})
            client = await StationClient.connect(place.address)
            assert (await client.stats()).estop == ""
            await client.close()
            for eye in (one, two):
                await eye.close()

        asyncio.run(run())
