"""The processes of a lab, as the supervisor starts them: command lines, ready files, patience."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from commands import ports
from data.lab import Lab
from nightlab.records import LabConfig, StationConfig, StationPlace


@dataclass(frozen=True, slots=True)
class Service:
    """One process that the supervisor keeps alive."""

    name: str
    argv: Callable[[int], list[str]]
    """The command line, given how often the process was restarted."""
    ready_file: Path | None = None
    """The process writes it when it serves; None = ready at once."""
    grace_s: float = 5.0
    """Patience after SIGTERM, wall seconds."""
    late: bool = False
    """Started once all others are ready, and not waited for."""
    station: str = ""
    """The station that it serves, whose ready file holds its StationPlace."""
    heartbeat_file: Path | None = None
    """Touched every second by the process while it makes progress; None = only its death is noticed."""
    silence_s: float = 15.0
    """Silence after which a process that was ready counts as hung and is killed, wall seconds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the supervisor starts, and where it will answer."""

    services: tuple[Service, ...]
    api_url: str
    ui_url: str
    places: tuple[StationPlace, ...]
    """Local stations in order; replaced by what their ready files say."""
    robots: tuple[str, ...]


def plan(lab: Lab, config: LabConfig) -> Plan:
    """The processes that `lab.yaml` asks for.

    Raises:
        LabError: if a port that it declares is taken.
    """
    local = [station for station in config.stations if not station.remote]
    wanted = {"prefect": config.prefect_port}
    wanted |= {station.station: _port(station.address) for station in local if _is_tcp(station.address)}
    chosen = ports.choose(lab, wanted)
    url = f"http://127.0.0.1:{chosen['prefect']}"
    robots = tuple(station.station for station in config.stations)
    places = tuple(_place(lab, station, chosen.get(station.station, 0)) for station in config.stations)
    by_name = {place.station: place for place in places}
    services = [
        _python(lab, "prefect", "commands.prefect_server", "--home", lab.prefect_dir, "--port", chosen["prefect"]),
        _fleet(lab, robots),
        _python(lab, "keeper", "data.keeper", "--lab", lab.path, grace_s=20.0),
        *(_station(lab, station, by_name[station.station]) for station in local),
        _python(lab, "verifier", "environments.verifier_process", "--socket", lab.verifier_socket),
        Service(
            name="recorder",
            argv=lambda _: [
                *(sys.executable, "-m", "data.recorder", "--lab", str(lab.path)),
                *("--heartbeat-file", str(heartbeat_file(lab, "recorder"))),
            ],
            grace_s=20.0,
            late=True,
            heartbeat_file=heartbeat_file(lab, "recorder"),
            silence_s=60.0,  # it works at the lowest priority
        ),
    ]
    return Plan(services=tuple(services), api_url=f"{url}/api", ui_url=url, places=places, robots=robots)


def ready_file(lab: Lab, name: str) -> Path:
    """Where the process `name` says that it serves."""
    return lab.run_dir / f"{name}.ready"


def heartbeat_file(lab: Lab, name: str) -> Path:
    """Whose modification time says that the process `name` makes progress."""
    return lab.run_dir / f"{name}.beat"


def _python(lab: Lab, name: str, module: str, *arguments: object, grace_s: float = 5.0, station: str = "") -> Service:
    ready, beat = ready_file(lab, name), heartbeat_file(lab, name)
    argv = [sys.executable, "-m", module, *map(str, arguments), "--ready-file", str(ready)]
    argv += ["--heartbeat-file", str(beat)]
    return Service(
        name=name, argv=lambda _: argv, ready_file=ready, grace_s=grace_s, station=station, heartbeat_file=beat
    )


def _fleet(lab: Lab, robots: tuple[str, ...]) -> Service:
    service = _python(lab, "fleet", "commands.fleet", "--lab", lab.path, "--robots", ",".join(robots))
    return Service(
        name="fleet",
        argv=lambda restarts: [*service.argv(restarts), *(["--resume"] if restarts else [])],
        ready_file=service.ready_file,
        grace_s=30.0,
        heartbeat_file=service.heartbeat_file,
    )


def _station(lab: Lab, station: StationConfig, place: StationPlace) -> Service:
    return _python(
        lab, station.station, "robots.serve", "--station", station.station, "--world", station.world,
        "--profile", station.profile, "--speed", station.speed, "--station-seed", station.station_seed,
        "--address", place.address, "--admin-socket", place.admin_socket,
        "--latch-file", lab.run_dir / f"{station.station}.latch", "--operator-token-file", lab.operator_token(),
        station=station.station,
    )  # fmt: skip


def _place(lab: Lab, station: StationConfig, port: int) -> StationPlace:
    if station.remote:
        return StationPlace(
            station=station.station,
            address=station.address,
            admin_socket=station.admin_socket or None,
            station_seed=station.station_seed if station.admin_socket else None,
            keys=station.keys,
        )
    address = f"{station.address.rpartition(':')[0]}:{port}" if _is_tcp(station.address) else station.address
    return StationPlace(
        station=station.station,
        address=address,
        admin_socket=str(lab.socket(f"{station.station}.sock")),
        station_seed=station.station_seed,
    )


def _is_tcp(address: str) -> bool:
    return not address.startswith("unix:")


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
