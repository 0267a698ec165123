"""The safety layer of a served station: limits, latch, e-stops and tokens, as a client meets them."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from nightlab.errors import EstopError, SafetyError, StationError, UsageError
from nightlab.records import CellConfig
from robots.client import StationClient
from robots.drivers.echo import EchoDriver
from robots.estop_hook import EVENT
from robots.estop_socket import EstopSocket
from robots.keys import make_keys
from robots.server import RPC_THREADS
from robots.station import LATCH, SOCKET, Station
from tests.robots.waiting import until

ROOT = Path(__file__).parents[2]
JOINTS = {
    "hard_low": [-2] * 6, "soft_low": [-1] * 6, "soft_high": [1] * 6, "hard_high": [2] * 6, "max_velocity": [10] * 6,
}  # fmt: skip


@contextmanager
def served(folder: Path, operator_token: str = "", **settings: object) -> Iterator[tuple[Station, EchoDriver]]:
    config = CellConfig.model_validate(
        {"station": "cell-1", "driver": "echo", "folder": folder, "state_dir": "state", **settings}
    )
    station = Station(config, latch_file=folder / "state" / LATCH, operator_token=operator_token)
    driver = station.cell.driver
    while not isinstance(driver, EchoDriver):
        driver = driver.inner  # type: ignore[attr-defined]
    try:
        yield station, driver
    finally:
        station.stop(0.2)


def with_client(address: str, check: Callable[[StationClient], Awaitable[None]], keys: Path | str = "") -> None:
    async def run() -> None:
        client = await StationClient.connect(address, keys=keys)
        try:
            await check(client)
        finally:
            await client.close()

    asyncio.run(run())


def at(value: float) -> dict[str, np.ndarray]:
    return {"target": np.full(6, value)}


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


def test_a_latched_station_comes_back_latched_until_the_operator_clears_it(tmp_path: Path) -> None:
    with served(tmp_path, "secret") as (station, _):

        async def stop(client: StationClient) -> None:
            await client.estop("smoke")

        with_client(station.address, stop)
    with served(tmp_path, "secret") as (station, driver):

        async def clear(client: StationClient) -> None:
            limits = (await client.describe()).limits
            assert not driver.powered, "stopped since before the restart"
            for token in ("", "wrong"):
                with pytest.raises(StationError, match="only an operator clears"):
                    await client.clear_estop(token)
            with pytest.raises(EstopError, match="e-stop: smoke"):
                await client.lease("test", limits)
            await client.clear_estop("secret")
            lease = await client.lease("test", limits)
            async with client.control(lease) as session:
                await session.step([at(0.01)])

        with_client(station.address, clear)
        assert not (tmp_path / "state" / LATCH).exists()


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


def test_the_estop_socket_stops_at_once_and_a_silent_hook_stops_too(tmp_path: Path) -> None:
    device = tmp_path / "keyboard"
    subprocess.run(["mkfifo", device], check=True)
    holder = device.open("r+b", buffering=0)  # a writer, so that the hook's end of the pipe stays open
    settings = {"estop": {"keyboard": {"device": str(device), "codes": [57]}, "silent_s": 1.0}}
    with served(tmp_path, **settings) as (station, driver):
        estopped = lambda: station.cell.controller.estopped  # noqa: E731
        hook = station._hooks["keyboard"]
        time.sleep(2.0)  # longer than its silence may last, and shorter than its first word may take
        holder.write(EVENT.pack(0, 0, 1, 30, 1))
        assert not estopped(), "another key stops nothing"
        holder.write(EVENT.pack(0, 0, 1, 57, 1))
        assert until(estopped), "the key was not heard"
        assert estopped() == "e-stop key 57"
        assert not driver.powered
        station.cell.controller.clear()
        hook.kill()
        assert until(estopped), "a hook that died must stop the robot"
        assert "hook 'keyboard' is not heard" in estopped()
        station.cell.controller.clear()
        assert until(estopped), "clearing does not hold while the hook is silent"
        assert until(lambda: station._hooks["keyboard"] is not hook), "a hook that ended is started again"
        assert until(lambda: _stays_clear(station)), "and once it is heard, clearing holds"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"stop by hand", str(tmp_path / "state" / "cell-1" / SOCKET))
        assert until(lambda: estopped() == "by hand"), "any process of this user may stop it"
    holder.close()


def _stays_clear(station: Station) -> bool:
    station.cell.controller.clear()
    time.sleep(1.5)  # longer than a hook may be silent
    return not station.cell.controller.estopped


def test_one_estop_socket_belongs_to_one_station(tmp_path: Path) -> None:
    first = EstopSocket(tmp_path / SOCKET, lambda reason: None)
    with pytest.raises(StationError, match=r"a station listens on .* already"):
        EstopSocket(tmp_path / SOCKET, lambda reason: None)
    first.close()
    EstopSocket(tmp_path / SOCKET, lambda reason: None).close()


def test_a_gpio_line_that_opens_stops_the_robot(tmp_path: Path) -> None:
    """The hook against a `gpiod` that is scripted: no GPIO chip is here."""
    (tmp_path / "gpiod.py").write_text(
        "import time\n"
        "class line:\n"
        "    class Direction: INPUT = 'in'\n"
        "    class Bias: PULL_UP = 'up'\n"
        "    class Value: ACTIVE, INACTIVE = 1, 0\n"
        "class LineSettings:\n"
        "    def __init__(self, direction, bias): assert (direction, bias) == ('in', 'up')\n"
        "class Request:\n"
        "    begin = time.monotonic()\n"
        "    def get_value(self, offset):\n"
        "        assert offset == 17\n"
        "        return int(time.monotonic() - self.begin > 0.5)\n"
        "def request_lines(path, consumer, config):\n"
        "    assert path == '/dev/gpiochip0' and list(config) == [17]\n"
        "    return Request()\n"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "ear"))
        ear.settimeout(20.0)
        process = subprocess.Popen(
            [sys.executable, "-m", "robots.estop_hook", "--socket", str(tmp_path / "ear"), "--gpio", "gpiochip0:17"],
            cwd=ROOT,
            env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        )
        try:
            assert ear.recv(100) == b"beat gpio", "first it says that it lives"
            while (said := ear.recv(100)) == b"beat gpio":
                continue
            assert said == b"stop e-stop line gpiochip0:17"
        finally:
            process.kill()
            process.wait()


def test_an_estop_that_is_pressed_while_another_is_cleared_is_not_lost(tmp_path: Path) -> None:
    with served(tmp_path) as (station, driver):
        controller, clear = station.cell.controller, driver.clear

        def pressed_meanwhile() -> None:
            clear()
            controller.estop("second")

        driver.clear = pressed_meanwhile  # type: ignore[method-assign]
        controller.estop("first")
        controller.clear()
        assert controller.estopped, "the second one holds"
        assert not driver.powered
        assert (tmp_path / "state" / LATCH).exists(), "over a restart too"


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


def test_a_stream_from_before_the_estop_moves_nothing_after_it(tmp_path: Path) -> None:
    with served(tmp_path) as (station, driver):

        async def check(client: StationClient) -> None:
            lease = await client.lease("test", (await client.describe()).limits)
            async with client.control(lease) as session:
                await session.step([at(0.05)])
                await client.estop("test")
                driver.state = np.full(6, -0.5)  # it sank
                await client.clear_estop()
                with pytest.raises(EstopError, match="pressed and cleared since this control stream began"):
                    await session.step([at(0.06)])
            assert driver.commands == 1
            async with client.control(lease) as session:
                await session.step([at(0.06)])
            np.testing.assert_allclose(driver.state, -0.4, err_msg="a step from where it stands")

        with_client(station.address, check)


def test_an_estop_that_the_driver_cannot_carry_out_is_no_success_and_is_tried_again(tmp_path: Path) -> None:
    with served(tmp_path) as (station, driver):
        stop, broken = driver.stop, [True]

        def deaf(reason: str) -> None:
            if broken:
                raise StationError("power not cut: no answer; cut it by hand")
            stop(reason)

        driver.stop = deaf  # type: ignore[method-assign]

        async def check(client: StationClient) -> None:
            with pytest.raises(StationError, match="e-stop latched, but power not cut: no answer; cut it by hand"):
                await client.estop("smoke")
            assert "smoke (power not cut" in (await client.stats()).estop
            assert (tmp_path / "state" / LATCH).exists()
            broken.clear()
            assert await asyncio.to_thread(until, lambda: not driver.powered), "the watchdog tries again"
            assert (await client.stats()).estop == "smoke"

        with_client(station.address, check)


def test_a_clear_that_fails_leaves_the_station_stopped_over_a_restart_too(tmp_path: Path) -> None:
    with served(tmp_path) as (station, driver):
        clear = driver.clear

        def half() -> None:
            clear()
            raise StationError("servo 4 does not answer")

        driver.clear = half  # type: ignore[method-assign]

        async def check(client: StationClient) -> None:
            await client.estop("smoke")
            with pytest.raises(StationError, match="servo 4 does not answer"):
                await client.clear_estop()
            assert (await client.stats()).estop == "smoke"
            assert not driver.powered, "what was switched on is off again"
            assert "smoke" in (tmp_path / "state" / LATCH).read_text()

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


def test_an_estop_over_grpc_waits_for_nobody(tmp_path: Path) -> None:
    with served(tmp_path) as (station, driver):
        look, hangs = driver.observe, threading.Event()

        def hang() -> dict[str, np.ndarray]:
            hangs.wait(20.0)
            return look()

        driver.observe = hang  # type: ignore[method-assign]

        async def check(client: StationClient) -> None:
            waiting = [asyncio.create_task(client.observe()) for _ in range(RPC_THREADS + 10)]
            await asyncio.sleep(0.5)
            async with asyncio.timeout(5.0):
                await client.estop("test")
            assert not driver.powered
            hangs.set()
            await asyncio.gather(*waiting)

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
