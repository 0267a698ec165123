"""`nightlab station serve|check|clear|keys`: one robot cell on the machine that it is wired to. Needs no lab."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightlab.errors import StationError, UsageError

if TYPE_CHECKING:
    from nightlab.records import CellConfig

SHOWN = 8
"""Most numbers of a limit that the table shows."""


def serve(
    config: Annotated[Path, typer.Argument(help="station.yaml; every field: docs/stations.md")],
    ready_file: Annotated[Path | None, typer.Option(help="Written, with the address, once the station serves")] = None,
    heartbeat_file: Annotated[Path | None, typer.Option(help="Touched once a second")] = None,
    operator_token_file: Annotated[
        Path | None, typer.Option(help="What clears an e-stop, e.g. a lab's run/operator.token; default: one is made")
    ] = None,
) -> None:
    """Serve a station until Ctrl-C; what the robot does then, its driver says: docs/hardware.md."""
    from robots.serve import main

    words = ["--config", str(config)]
    words += ["--ready-file", str(ready_file)] if ready_file else []
    words += ["--heartbeat-file", str(heartbeat_file)] if heartbeat_file else []
    words += ["--operator-token-file", str(operator_token_file)] if operator_token_file else []
    sys.exit(main(words))


def check(
    config: Annotated[Path, typer.Argument(help="station.yaml")],
    hardware: Annotated[bool, typer.Option(help="Open the robot and its cameras; nothing moves")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Check a station.yaml: fields, keys, and (without --no-hardware) robot, cameras, limits and where it stands."""
    from robots.cell_config import read_cell
    from robots.drivers import check_names

    cell = read_cell(config)
    check_names(cell)
    facts: dict[str, Any] = {"station": cell.station, "driver": cell.driver, "address": cell.address, **_keys(cell)}
    if hardware:
        facts |= _hardware(cell)
    if as_json:
        print(json.dumps(facts))
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            print(f"{key}:")
            for name, inner in value.items():
                print(f"  {name:<24} {inner}")
        else:
            print(f"{key:<12} {value}")
    print("in order" if hardware else "the file is in order; the hardware was not looked at")


def clear(
    where: Annotated[str, typer.Argument(help="Address of the station, or its station.yaml")],
    keys: Annotated[str, typer.Option(help="Folder of the operator's keys")] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="Operator's token; default: that of the station.yaml, where it has no keys")
    ] = None,
) -> None:
    """Clear a station's e-stop, with the operator's token, after somebody has looked at the cell."""
    from robots.cell_config import read_cell, state_folder
    from robots.client import StationClient
    from robots.station import OPERATOR_TOKEN

    address = where
    if Path(where).suffix in (".yaml", ".yml"):
        cell = read_cell(Path(where))
        made = state_folder(cell) / OPERATOR_TOKEN
        token_file = token_file or (made if not keys and made.exists() else None)
        address = cell.address
        if address.endswith(":0"):
            raise UsageError(
                f"{where} lets the port be chosen; give the address that `nightlab station serve` printed, and "
                f"--token-file {made}"
            )
        address = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    try:
        token = token_file.read_text().strip() if token_file is not None else ""
    except OSError as error:
        raise UsageError(f"--token-file {token_file}: {error.strerror}") from error

    async def work() -> str:
        client = await StationClient.connect(address, keys=keys)
        try:
            held = (await client.stats()).estop
            await client.clear_estop(token)
            return held
        finally:
            await client.close()

    held = asyncio.run(work())
    print(f"{address} may move again; it was stopped by: {held}" if held else f"{address} was not stopped")


def keys(
    folder: Annotated[Path, typer.Argument(help="Folder for the keys, outside every lab")],
    host: Annotated[list[str] | None, typer.Option(help="Name or address by which clients reach the station")] = None,
    holder: Annotated[list[str] | None, typer.Option(help="Who may lease it, e.g. the lab's name")] = None,
) -> None:
    """Make keys for a station: a small authority, the server's certificate, and certificate and token per holder."""
    from robots.keys import make_keys

    made = make_keys(folder, host or [], holder or [])
    for path in made:
        print(f"made {path}")
    server = folder / "server"
    print(
        f"station.yaml:  tls: {{ca: {server}/ca.pem, certificate: {server}/server.pem, key: {server}/server.key}}\n"
        f"               tokens: {server}/tokens.yaml\n"
        f"lab.yaml:      keys: the folder of its holder, copied to the lab's host (not into the lab)\n"
        f"{folder / 'ca'} and {folder / 'operator'} stay with the operator"
    )


def _keys(cell: CellConfig) -> dict[str, Any]:
    """Whether the files of `tls` and `tokens` are there."""
    from robots.tokens import Tokens

    if cell.tls is not None:
        for path in (cell.tls.ca, cell.tls.certificate, cell.tls.key):
            if not cell.path(path).is_file():
                raise UsageError(f"tls: no file {cell.path(path)}. Make keys: nightlab station keys DIR")
    if cell.tokens is not None:
        Tokens.read(cell.path(cell.tokens))
    return {"tls": cell.tls is not None, "tokens": cell.tokens is not None, "loopback": cell.loopback}


def _hardware(cell: CellConfig) -> dict[str, Any]:
    """What the opened robot says of itself; nothing moves."""
    import os

    from nightlab.records import SafetyConfig
    from robots.cell import Cell
    from robots.cell_config import state_folder
    from robots.latch import Latch
    from robots.station import LATCH, open_driver

    os.environ.update(cell.env)
    driver = open_driver(cell)
    try:
        safety = cell.limits if cell.limits != SafetyConfig() else None
        monitor = Cell(driver, safety=safety).controller.monitor
        spec, joints = driver.spec(), driver.joint_states()
        breach = monitor.look(joints, driver.observe(), 0) if monitor is not None else None
        if breach is not None:
            raise StationError(
                f"{cell.station} stands outside its limits: {breach.reason}. Bring it back by hand first"
            )
        cameras = {camera.key: "x".join(map(str, driver.render(camera.key).shape)) for camera in spec.cameras}
    finally:
        close = getattr(driver, "close", None)
        if close is not None:
            close()
    limits = spec.limits
    return {
        "kind": spec.kind,
        "rate_hz": spec.rate_hz,
        "simulated": spec.simulated,
        "actions": {
            channel.key: f"{_short(limits.action_low[channel.key])} to {_short(limits.action_high[channel.key])} "
            f"{channel.unit.split(',')[0]}, step {_short(limits.max_step.get(channel.key, ()))}"
            for channel in spec.actions
        },
        "joints": {key: _short(tuple(value.ravel().tolist())) for key, value in joints.items()},
        "cameras": cameras,
        "monitored": monitor is not None,
        "latched": Latch(state_folder(cell) / LATCH).read(),
    }


def _short(values: tuple[float, ...]) -> str:
    more = ", …" if len(values) > SHOWN else ""
    return "(" + ", ".join(f"{value:g}" for value in values[:SHOWN]) + more + ")" if values else "any"
