"""The e-stop of a served station: its ways in, its latch, and what it outlasts."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from nightlab.errors import EstopError, StationError
from robots.client import StationClient
from robots.estop_hook import EVENT
from robots.estop_socket import EstopSocket
from robots.server import RPC_THREADS
from robots.station import LATCH, SOCKET, Station
from tests.robots.served_echo import at, served, with_client
from tests.robots.waiting import until

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize("who", ["a second press", "the watchdog"])
def test_a_stop_that_crosses_a_clear_leaves_no_robot_without_power_that_says_it_is_free(
    tmp_path: Path, who: str
) -> None:
    """The driver is told to stop by a thread that the host lets wait in the middle of it, until the clear is over."""
    with served(tmp_path) as (station, driver):
        controller, stop = station.cell.controller, driver.stop
        inside, cleared, told = threading.Event(), threading.Event(), threading.Event()
        controller.estop("first")
        assert until(lambda: controller._confirmed), "the watchdog has nothing left to say"

        def slow(reason: str) -> None:
            inside.set()
            cleared.wait(0.5)
            stop(reason)
            told.set()

        driver.stop = slow  # type: ignore[method-assign]
        press = threading.Thread(target=controller.estop, args=("second",))
        if who == "a second press":
            press.start()
        else:
            controller._confirmed = False
        assert inside.wait(5.0)
        controller.clear()
        cleared.set()
        assert told.wait(5.0)
        if who == "a second press":
            press.join()
            assert controller.estopped, "it holds"
        assert until(lambda: driver.powered != bool(controller.estopped)), "power and latch agree"
        assert (tmp_path / "state" / LATCH).exists() == bool(controller.estopped), "over a restart too"


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
