"""The station server's process: `python -m robots.serve --station robot-1 --world push_t --ready-file PATH …`."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import threading
from pathlib import Path

from nightlab.errors import NightlabError, StationError, UsageError
from nightlab.records import StationPlace
from robots.cell import Cell
from robots.drivers.simulated import SimulatedDriver
from robots.profiles import load_profile
from robots.server import StationServer
from robots.worlds import make_world

PR_SET_PDEATHSIG = 1


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m robots.serve", description="Serve one simulated station over gRPC."
    )
    parser.add_argument("--station", required=True, help="name of the station, e.g. robot-1")
    parser.add_argument("--world", default="push_t")
    parser.add_argument("--profile", default="nominal", help="nominal, real, hard, or a YAML file")
    parser.add_argument("--speed", default="10", help="station seconds per wall second; max (or 0): as fast as it can")
    parser.add_argument("--station-seed", type=int, default=0)
    parser.add_argument("--address", default="127.0.0.1:0", help="host:port or unix:/path; port 0: any free one")
    parser.add_argument("--admin-socket", type=Path, help="Unix socket of SimulatorAdmin; its token lies in PATH.token")
    parser.add_argument("--ready-file", type=Path, help="a StationPlace as JSON, written when serving")
    parser.add_argument("--heartbeat-file", type=Path, help="touched once a second while the control thread lives")
    parser.add_argument("--die-with-parent", action="store_true")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Exit code 2: could not start, one line says why."""
    arguments = parse(argv)
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    try:
        if arguments.die_with_parent:
            die_with_parent()
        server = start(arguments)
    except NightlabError as error:
        print(f"station {arguments.station}: {error}", file=sys.stderr, flush=True)
        return 2
    if arguments.ready_file is not None:
        write_ready(arguments, server.address)
    print(f"station {arguments.station} serves {arguments.world} on {server.address}", flush=True)
    stop.wait()
    server.stop()
    return 0


def start(arguments: argparse.Namespace) -> StationServer:
    """Build world, cell and server from the command line.

    Raises:
        NightlabError: unknown world or profile, a speed that is no number, an address that is taken.
    """
    import cv2

    cv2.setNumThreads(1)
    speed = parse_speed(arguments.speed)
    driver = SimulatedDriver(
        lambda profile, seed: make_world(arguments.world, load_profile(profile, arguments.world), seed),
        arguments.station,
        arguments.profile,
        arguments.station_seed,
        speed,
    )
    cell = Cell(driver, arguments.heartbeat_file)
    cell.start()
    try:
        for camera in driver.spec().cameras:  # fills the renderer's caches before anybody waits for it
            cell.capture(camera.key)
        return StationServer(cell, arguments.address, arguments.admin_socket, driver)
    except StationError:
        cell.close()
        raise


def parse_speed(text: str) -> float:
    """Station seconds per wall second; `max` is 0. Raises UsageError."""
    try:
        speed = 0.0 if text == "max" else float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed <= 1000:
        raise UsageError(f"--speed {text!r}: a number from 0 to 1000, or max")
    return speed


def write_ready(arguments: argparse.Namespace, address: str) -> None:
    """Say where the station answers; the file appears whole."""
    place = StationPlace(
        station=arguments.station,
        address=address,
        admin_socket=str(arguments.admin_socket.absolute()) if arguments.admin_socket else None,
        station_seed=arguments.station_seed,
    )
    partial = arguments.ready_file.with_name(f"{arguments.ready_file.name}.{os.getpid()}")
    partial.write_text(place.model_dump_json())
    os.replace(partial, arguments.ready_file)


def die_with_parent() -> None:
    """SIGTERM when the parent dies; at once if it is gone already."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent or parent == 1:
        raise StationError("--die-with-parent: the parent process is gone already")


if __name__ == "__main__":
    sys.exit(main())
