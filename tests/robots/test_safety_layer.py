"""The safety layer of a served station: limits, homing and tokens, as a client meets them. The e-stop: test_estop.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from nightlab.errors import EstopError, SafetyError, StationError, UsageError
from nightlab.records import CellConfig
from robots.client import StationClient
from robots.keys import make_keys
from robots.station import LATCH, Station
from tests.robots.served_echo import at, served, with_client
from tests.robots.waiting import until

JOINTS = {
    "hard_low": [-2] * 6, "soft_low": [-1] * 6, "soft_high": [1] * 6, "hard_high": [2] * 6, "max_velocity": [10] * 6,
}  # fmt: skip


def test_a_soft_limit_refuses_the_whole_chunk(tmp_path: Path) -> None:
    with served(tmp_path, limits={"joints": {"joint": {**JOINTS, "command": "target"}}}) as (station, driver):

        async def check(client: StationClient) -> None:
            limits = (await client.describe()).limits
            assert limits.action_high["target"] == (1.0,) * 6, "the client sees the soft limit"
            lease = await client.lease("test", limits)
            async with client.control(lease) as session:
                with pytest.raises(SafetyError, match="action 1 'target' is out of bounds"):
                    await session.step([at(0.1), at(1.2)])
                assert driver.commands == 0, "none of the chunk ran"
                await session.step([at(0.1)])

        with_client(station.address, check)


def test_a_hard_limit_cuts_the_power_and_latches(tmp_path: Path) -> None:
    no_soft = {**JOINTS, "soft_low": [-2] * 6, "soft_high": [2] * 6}
    with served(tmp_path, limits={"joints": {"joint": no_soft}}) as (station, driver):

        async def check(client: StationClient) -> None:
            lease = await client.lease("test", (await client.describe()).limits)
            async with client.control(lease) as session:
                with pytest.raises(
                    EstopError, match=r"power cut: joint 0 of 'joint' is at 2.05, beyond its hard limit"
                ):
                    await session.step([at(0.05 * n) for n in range(1, 60)])
            assert not driver.powered, "the driver's power is cut"
            assert driver.highest[0] < 2.1, "nothing after it ran"
            with pytest.raises(EstopError, match="hard limit"):
                await client.lease("again", (await client.describe()).limits)
            with pytest.raises(EstopError, match="hard limit"):
                await client.home(lease)
            await client.observe()  # looking is always allowed

        with_client(station.address, check)
        assert "hard limit" in (tmp_path / "state" / LATCH).read_text()


def test_beyond_a_soft_limit_only_home_moves(tmp_path: Path) -> None:
    with served(tmp_path, limits={"joints": {"joint": JOINTS}}) as (station, driver):

        async def check(client: StationClient) -> None:
            lease = await client.lease("test", (await client.describe()).limits)
            async with client.control(lease) as session:
                with pytest.raises(SafetyError, match=r"beyond its soft limit.*only `home` moves"):
                    await session.step([at(0.1 * n) for n in range(1, 14)])
                assert driver.commands == 11, "nor does the rest of the chunk run"
                with pytest.raises(SafetyError, match=r"beyond its soft limit.*only `home` moves"):
                    await session.step([at(1.1)])
            with pytest.raises(SafetyError, match=r"move_to_pose: .*beyond its soft limit.*only `home` moves"):
                await client.move_to_pose(lease, [0.5] * 6)
            await client.home(lease)
            assert abs(driver.state).max() < 1e-9, "home is the way back"
            async with client.control(lease) as session:
                await session.step([at(0.1)])

        with_client(station.address, check)


def test_too_much_force_is_a_protective_stop(tmp_path: Path) -> None:
    with served(tmp_path, limits={"max_force_N": {"wrench": 30.0}}) as (station, driver):

        async def check(client: StationClient) -> None:
            lease = await client.lease("test", (await client.describe()).limits)
            async with client.control(lease) as session:
                driver.press_N = 50.0
                with pytest.raises(SafetyError, match="protective stop: force at 'wrench' is 50 N, allowed 30"):
                    await session.step([at(0.01)] * 10)
                assert driver.commands == 1, "the rest of the chunk did not run"
                with pytest.raises(SafetyError, match="protective stop"):
                    await session.step([at(0.01)])
                await session.hold()
            for _ in range(3):
                async with client.control(lease) as session:
                    with pytest.raises(SafetyError, match=r"force at 'wrench' .*only `home` and `release` move"):
                        await session.step([at(0.02)])
            with pytest.raises(SafetyError, match="move_to_pose: force at 'wrench'"):
                await client.move_to_pose(lease, [0.1] * 6)
            assert driver.commands == 2, "one step and one hold: a limit is not walked through"
            driver.press_N = 0.0
            async with client.control(lease) as session:
                await session.step([at(0.02)])
            assert (await client.stats()).protective_stops == 1

        with_client(station.address, check)


def test_mutual_tls_and_tokens_guard_a_station_that_others_reach(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    make_keys(keys, ["127.0.0.1"], ["lab-a"])
    make_keys(tmp_path / "stranger", ["127.0.0.1"], ["lab-a"])
    server = keys / "server"
    tls = {"ca": server / "ca.pem", "certificate": server / "server.pem", "key": server / "server.key"}
    with served(tmp_path, address="0.0.0.0:0", tls=tls, tokens=server / "tokens.yaml") as (station, _):
        address = f"127.0.0.1:{station.address.rpartition(':')[2]}"

        async def drive(client: StationClient) -> None:
            lease = await client.lease("test", (await client.describe()).limits)
            async with client.control(lease) as session:
                await session.step([at(0.01)])
            await client.estop("test")
            with pytest.raises(StationError, match="lab-a is no operator"):
                await client.clear_estop()

        async def clear(client: StationClient) -> None:
            await client.clear_estop()

        async def refused(keys: Path | str, says: str) -> None:
            with pytest.raises(StationError, match=says):
                await StationClient.connect(address, keys=keys, timeout_s=2.0)

        with_client(address, drive, keys / "lab-a")
        with_client(address, clear, keys / "operator")
        asyncio.run(refused("", "no station answers|did not answer"))
        asyncio.run(refused(tmp_path / "stranger" / "lab-a", "no station answers|did not answer"))
        (keys / "lab-a" / "token").write_text("0" * 64)
        asyncio.run(refused(keys / "lab-a", "wrong or missing token"))


def test_a_monitor_that_fails_is_a_protective_stop(tmp_path: Path) -> None:
    with served(tmp_path, limits={"max_force_N": {"wrench": 30.0}}) as (station, driver):

        async def check(client: StationClient) -> None:
            lease = await client.lease("test", (await client.describe()).limits)
            async with client.control(lease) as session:
                driver.press_N = "broken"  # type: ignore[assignment]
                with pytest.raises(StationError, match=r"the safety monitor failed|station fault"):
                    await session.step([at(0.01)] * 3)
                assert driver.commands == 1, "blind, the robot holds"

        with_client(station.address, check)


def test_home_stops_at_what_it_meets_on_its_way(tmp_path: Path) -> None:
    with served(tmp_path, limits={"max_force_N": {"wrench": 30.0}}) as (station, driver):
        step = driver.step

        def meet(action: dict[str, np.ndarray]) -> None:
            step(action)
            driver.press_N = 50.0 if driver.state[0] < 0.5 else 0.0

        driver.state = np.full(6, 1.0)

        async def check(client: StationClient) -> None:
            lease = await client.lease("test", (await client.describe()).limits)
            driver.step = meet  # type: ignore[method-assign]
            with pytest.raises(SafetyError, match="protective stop in home: force at 'wrench' is 50 N"):
                await client.home(lease)
            assert 0.35 < driver.state[0] < 0.5, "it holds where it met it"
            await client.home(lease)
            assert abs(driver.state).max() < 1e-9, "pressed already, home is the way back"

        with_client(station.address, check)


def test_home_is_the_way_back_from_outside_the_bounds(tmp_path: Path) -> None:
    with served(tmp_path, limits={"action_high": {"target": [1.0] * 6}}) as (station, driver):
        driver.state = np.full(6, 1.5)

        async def check(client: StationClient) -> None:
            lease = await client.lease("test", (await client.describe()).limits)
            with pytest.raises(SafetyError, match="out of bounds"):
                await client.move_to_pose(lease, [1.6] * 6)
            assert driver.state[0] == 1.5
            async with client.control(lease) as session:
                await session.step([at(1.0)])
                assert driver.state[0] == pytest.approx(1.4), "one step towards it, not one jump"
            await client.home(lease)
            assert abs(driver.state).max() < 1e-9

        with_client(station.address, check)


def test_a_station_that_ends_during_the_automatic_home_does_not_hurry(tmp_path: Path) -> None:
    with served(tmp_path, rate_hz=10) as (station, driver):
        driver.state = np.full(6, 2.9)
        station.cell.controller.post(station.cell._go_home)
        assert until(lambda: driver.commands > 2)
        begun = driver.commands
        station.cell.controller.stop()
        assert driver.commands <= begun + 1


def test_a_sensor_that_fails_while_an_action_is_late_does_not_end_the_control_thread(tmp_path: Path) -> None:
    with served(tmp_path) as (station, driver):
        look = driver.observe

        def blind() -> dict[str, np.ndarray]:
            raise StationError("the camera is stale")

        async def check(client: StationClient) -> None:
            lease = await client.lease("test", (await client.describe()).limits)
            async with client.control(lease) as session:
                await session.step([at(0.01)])
                driver.observe = blind  # type: ignore[method-assign]
                await asyncio.sleep(0.2)
            driver.observe = look  # type: ignore[method-assign]
            await client.home(lease)

        with_client(station.address, check)


def test_a_station_that_others_reach_needs_tls_however_it_is_started() -> None:
    config = CellConfig(station="cell-1", driver="echo", address="0.0.0.0:0")
    with pytest.raises(UsageError, match=r"which other machines reach, without tls and tokens"):
        Station(config)
