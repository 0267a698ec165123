"""A station as `station.yaml` describes it, put together: driver, limits, cell, e-stops, server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from nightlab.errors import NightlabError
from nightlab.records import CellConfig, SafetyConfig, TlsConfig
from nightlab.records.cell import EstopConfig
from robots.cell import Cell
from robots.cell_config import check_reach, state_folder
from robots.driver import Driver, Simulator
from robots.drivers import make_driver
from robots.drivers.configured import ConfiguredDriver
from robots.drivers.simulated import SimulatedDriver
from robots.estop_socket import EstopSocket
from robots.latch import Latch
from robots.server import StationServer
from robots.tokens import Tokens

LATCH = "estop.latch"
SOCKET = "estop.sock"
OPERATOR_TOKEN = "operator.token"
HOOK_AGAIN_S = 2.0
"""How often e-stop hooks that have ended are started again, wall seconds."""
REAL_NICENESS = -10
"""Priority of the server of a real robot over what else its workstation does."""


class Station:
    """Serves until `stop`.

    Args:
        config: station.yaml.
        admin_socket: of a simulated station.
        heartbeat_file: touched once a second while the control thread lives.
        latch_file: keeps an e-stop over restarts; None: nothing does.
        operator_token: on loopback without `tokens`: what clears an e-stop; empty: anybody does.

    Raises:
        NightlabError: settings, hardware, keys or address are not as they must be; nothing runs then.
    """

    def __init__(
        self,
        config: CellConfig,
        *,
        admin_socket: Path | None = None,
        heartbeat_file: Path | None = None,
        latch_file: Path | None = None,
        operator_token: str = "",
    ) -> None:
        check_reach(config)
        os.environ.update(config.env)
        self._estop: EstopSocket | None = None
        self._hooks: dict[str, subprocess.Popen[bytes]] = {}
        self._closing = threading.Event()
        self._tender: threading.Thread | None = None
        tls, tokens = _tls(config), _tokens(config, operator_token)
        driver = open_driver(config)
        try:
            latch = Latch(latch_file)
            safety = config.limits if config.limits != SafetyConfig() else None
            self.cell = Cell(driver, heartbeat_file, safety=safety, latch=latch)
        except BaseException:
            _close(driver)
            raise
        if not driver.spec().simulated:
            with contextlib.suppress(OSError):  # needs root or CAP_SYS_NICE
                os.setpriority(os.PRIO_PROCESS, 0, REAL_NICENESS)
        self.cell.start()
        try:
            for camera in driver.spec().cameras:  # fills caches, and finds dead cameras, before anybody waits for it
                self.cell.capture(camera.key)
            names = list(hook_arguments(config.estop))
            if names or not driver.spec().simulated:
                path = state_folder(config) / SOCKET
                self._estop = EstopSocket(path, self.cell.controller.estop, names, config.estop.silent_s)
                self._hooks = {name: start_hook(path, config.estop, name) for name in names}
                self._tender = threading.Thread(target=self._tend, args=(path, config.estop), daemon=True)
                self._tender.start()
            self.server = StationServer(
                self.cell, config.address, admin_socket, _simulator(driver), tls=tls, tokens=tokens
            )
        except BaseException:
            self._end()
            self.cell.close()
            raise
        self.address = self.server.address

    def stop(self, grace_s: float = 1.0) -> None:
        """Refuse new calls, let running ones end, hold the robot, free hardware."""
        self.server.stop(grace_s)
        self._end()

    def _tend(self, path: Path, config: EstopConfig) -> None:
        """Start hooks again that have ended: a button that is plugged in again is heard again."""
        while not self._closing.wait(HOOK_AGAIN_S):
            for name, hook in self._hooks.items():
                if hook.poll() is not None:
                    self._hooks[name] = start_hook(path, config, name)

    def _end(self) -> None:
        self._closing.set()
        if self._tender is not None:
            self._tender.join()
        if self._estop is not None:
            self._estop.close()
        for hook in self._hooks.values():
            hook.terminate()
        for hook in self._hooks.values():
            hook.wait()


def open_driver(config: CellConfig) -> Driver:
    """The driver with its cameras, under the limits of station.yaml.

    Raises:
        NightlabError: unknown driver, settings that do not fit, hardware that is not there.
    """
    driver = make_driver(config)
    plain = CellConfig(station=config.station, driver=config.driver, address=config.address)
    if all(getattr(config, name) == getattr(plain, name) for name in ("limits", "home", "kind", "rate_hz")):
        return driver
    try:
        return ConfiguredDriver(driver, config)
    except NightlabError:
        _close(driver)
        raise


def hook_arguments(config: EstopConfig) -> dict[str, list[str]]:
    """Command lines of the e-stop hooks, by name."""
    found: dict[str, list[str]] = {}
    if config.keyboard is not None:
        codes = ",".join(map(str, config.keyboard.codes))
        found["keyboard"] = ["--keyboard", str(config.keyboard.device), "--codes", codes]
    if config.gpio is not None:
        found["gpio"] = ["--gpio", f"{config.gpio.chip}:{config.gpio.line}"]
        found["gpio"] += [] if config.gpio.normally_closed else ["--normally-open"]
    return found


def start_hook(socket: Path, config: EstopConfig, name: str) -> subprocess.Popen[bytes]:
    """The process of one hook."""
    argv: Sequence[str] = hook_arguments(config)[name]
    command = [sys.executable, "-m", "robots.estop_hook", "--socket", str(socket), "--silent-s", str(config.silent_s)]
    return subprocess.Popen([*command, *argv], stdin=subprocess.DEVNULL)


def _tls(config: CellConfig) -> TlsConfig | None:
    if config.tls is None:
        return None
    ca, certificate, key = (config.path(path) for path in (config.tls.ca, config.tls.certificate, config.tls.key))
    return TlsConfig(ca=ca, certificate=certificate, key=key)


def _tokens(config: CellConfig, operator_token: str) -> Tokens:
    if config.tokens is not None:
        return Tokens.read(config.path(config.tokens))
    return Tokens.operator(operator_token) if operator_token else Tokens()


def _simulator(driver: Driver | SimulatedDriver) -> Simulator | None:
    """The simulation behind a driver, however it is wrapped."""
    while not isinstance(driver, SimulatedDriver):
        inner = getattr(driver, "inner", None)
        if inner is None:
            return None
        driver = inner
    return driver


def _close(driver: Driver) -> None:
    close = getattr(driver, "close", None)
    if close is not None:
        close()
