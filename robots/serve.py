"""The station server's process.

python -m robots.serve --config station.yaml [--ready-file PATH]
python -m robots.serve --station robot-1 --world push_t --ready-file PATH …     a simulated one, without a file
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import os
import signal
import sys
import threading
from pathlib import Path

from nightlab.errors import NightlabError, StationError, UsageError
from nightlab.records import CellConfig, StationPlace
from robots.cell_config import read_cell, state_folder
from robots.station import LATCH, OPERATOR_TOKEN, Station
from robots.tokens import new_token

PR_SET_PDEATHSIG = 1


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m robots.serve", description="Serve one station over gRPC.")
    parser.add_argument("--config", type=Path, help="station.yaml; the options of a simulated station then say nothing")
    parser.add_argument("--station", default="robot-1", help="name of the station, e.g. robot-1")
    parser.add_argument("--world", default="push_t")
    parser.add_argument("--profile", default="nominal", help="nominal, real, hard, or a YAML file")
    parser.add_argument("--speed", default="10", help="station seconds per wall second; max (or 0): as fast as it can")
    parser.add_argument("--station-seed", type=int, default=0)
    parser.add_argument("--address", default="127.0.0.1:0", help="host:port or unix:/path; port 0: any free one")
    parser.add_argument("--admin-socket", type=Path, help="Unix socket of SimulatorAdmin; its token lies in PATH.token")
    parser.add_argument("--ready-file", type=Path, help="a StationPlace as JSON, written when serving")
    parser.add_argument("--heartbeat-file", type=Path, help="touched once a second while the control thread lives")
    parser.add_argument("--latch-file", type=Path, help="keeps an e-stop over restarts")
    parser.add_argument(
        "--operator-token-file", type=Path,
        help="what clears an e-stop; default: with --config one in its state_dir, else anybody does",
    )  # fmt: skip
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
        config = configured(arguments)
        station = start(arguments, config)
    except NightlabError as error:
        which = arguments.config or f"station {arguments.station}"
        print(f"{which}: {error}", file=sys.stderr, flush=True)
        return 2
    gc.collect()
    gc.freeze()  # walking over all that is imported would hold up an e-stop and a control period, 0.05 s and more
    if arguments.ready_file is not None:
        write_ready(arguments, config, station.address)
    what = config.config.get("world", config.driver)
    print(f"station {config.station} serves {what} on {station.address}", flush=True)
    latched = station.cell.controller.estopped
    if latched:
        clear = f"nightlab station clear {arguments.config or 'ADDRESS'}, or: nightlab estop --clear"
        print(f"station {config.station} is stopped since before: {latched}. Clear it: {clear}", flush=True)
    stop.wait()
    station.stop()
    return 0


def configured(arguments: argparse.Namespace) -> CellConfig:
    """The station of the command line.

    Raises:
        UsageError: a speed that is no number, a `station.yaml` that does not hold.
    """
    if arguments.config is not None:
        return read_cell(arguments.config)
    return CellConfig(
        station=arguments.station,
        driver="simulated",
        config={
            "world": arguments.world,
            "profile": arguments.profile,
            "speed": parse_speed(arguments.speed),
            "station_seed": arguments.station_seed,
        },
        address=arguments.address,
    )


def start(arguments: argparse.Namespace, config: CellConfig) -> Station:
    """Serve a station.

    Raises:
        NightlabError: unknown driver, world or profile, hardware that is not there, an address that is taken.
    """
    import cv2

    cv2.setNumThreads(1)
    latch_file, token_file = arguments.latch_file, arguments.operator_token_file
    if arguments.config is not None:
        latch_file = latch_file or state_folder(config) / LATCH
        if token_file is None and config.tokens is None:
            token_file = make_token(state_folder(config) / OPERATOR_TOKEN)
    try:
        token = token_file.read_text().strip() if token_file is not None else ""
    except OSError as error:
        raise StationError(f"operator's token {token_file}: {error.strerror}. Try: nightlab up") from error
    return Station(
        config,
        admin_socket=arguments.admin_socket,
        heartbeat_file=arguments.heartbeat_file,
        latch_file=latch_file,
        operator_token=token,
    )


def make_token(path: Path) -> Path:
    """A file with an operator's token, mode 0600; one that is there stays.

    Raises:
        StationError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(new_token())
    except OSError as error:
        raise StationError(
            f"operator's token {path}: {error.strerror}; choose another state_dir in station.yaml"
        ) from error
    return path


def parse_speed(text: str) -> float:
    """Station seconds per wall second; `max` is 0. Raises UsageError."""
    try:
        speed = 0.0 if text == "max" else float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed <= 1000:
        raise UsageError(f"--speed {text!r}: a number from 0 to 1000, or max")
    return speed


def write_ready(arguments: argparse.Namespace, config: CellConfig, address: str) -> None:
    """Say where the station answers; the file appears whole."""
    place = StationPlace(
        station=config.station,
        address=address,
        admin_socket=str(arguments.admin_socket.absolute()) if arguments.admin_socket else None,
        station_seed=None if arguments.config is not None else arguments.station_seed,
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
