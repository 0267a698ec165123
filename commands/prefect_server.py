"""The Prefect server of a lab, in this process: uvicorn on loopback, SQLite inside the lab, writes that never lock.

`python -m commands.prefect_server --home DIR --port P`. What `commands/prefect_sqlite.py` and `commands/prefect_sockets.py`
do replaces private methods, so the server refuses to run on another version.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import socket
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from commands.prefect_database import seed
from commands.prefect_room import RoomFirst
from commands.prefect_sockets import limit_requests_only
from commands.prefect_sqlite import begin_immediate, connect_freely
from nightlab.errors import ServiceError
from nightlab.heartbeat import beating
from nightlab.priority import yield_processor

PINS = {"prefect": ("3.8.8", "3.8.8"), "fastapi": ("0.139", "0.151"), "sqlalchemy": ("2.0", "2.1")}
"""First and last-but-not-included version of each package that the server was measured on (prefect: exactly)."""


def check_versions(installed: dict[str, str] | None = None) -> None:
    """Refuse versions with which the server starts but does not work.

    Args:
        installed: Versions by package; default: what is installed.

    Raises:
        ServiceError: naming the package and the command that installs the locked ones.
    """
    for package, (first, end) in PINS.items():
        found = (installed or {}).get(package) or version(package)
        good = found == first if first == end else _numbers(first) <= _numbers(found) < _numbers(end)
        if not good:
            wanted = first if first == end else f">={first},<{end}"
            raise ServiceError(
                f"the Prefect server needs {package} {wanted}, installed is {found}: with others its schedules stop "
                "silently or it does not start. Install the locked versions with: make -B .venv/.nightlab-ready"
            )


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one.

    Raises:
        ServiceError: if the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # only so asyncio sets TCP_NODELAY
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ServiceError(
            f"cannot serve Prefect on {host}:{port}: {error.strerror}. Free the port, or delete run/state.json in the "
            "lab so that another one is chosen: nightlab down && nightlab up"
        ) from None
    return listener


def serve(home: Path, port: int, *, ready_file: Path | None = None, heartbeat_file: Path | None = None) -> None:
    """Run the server until SIGTERM. Blocks.

    Args:
        home: Prefect's home: database, result storage, profiles.
        port: TCP port on 127.0.0.1.
        ready_file: Written with the API's URL once the server answers.
        heartbeat_file: Touched every second while the event loop turns.
    """
    check_versions()
    listener = bind("127.0.0.1", port)
    port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    home.mkdir(parents=True, exist_ok=True)
    on_sqlite = not os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "").startswith("postgresql")
    if on_sqlite:
        seed(home)
    os.environ.update(
        PREFECT_HOME=str(home.resolve()),
        PREFECT_API_URL=f"{url}/api",
        PREFECT_UI_API_URL=f"{url}/api",
        PREFECT_SERVER_API_HOST="127.0.0.1",
        PREFECT_SERVER_API_PORT=str(port),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
        PREFECT__SERVER_FINAL="1",
    )
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "WARNING")

    import uvicorn
    from prefect.server.api.server import create_app

    if on_sqlite:
        connect_freely()
    begin_immediate()
    limit_requests_only()
    application: Any = RoomFirst(create_app(), home) if on_sqlite else create_app()
    config = uvicorn.Config(
        application, host="127.0.0.1", port=port, log_level="warning", access_log=False, timeout_keep_alive=30,
        timeout_graceful_shutdown=3, lifespan="on",
    )  # fmt: skip
    server = uvicorn.Server(config)
    if ready_file is not None:
        startup = server.startup
        hearts: list[asyncio.Task[None]] = []

        async def announce(sockets: list[socket.socket] | None = None) -> None:
            await startup(sockets)
            gc.collect()
            gc.freeze()  # what is imported stays: walking over it stopped the server for 0.25 s each time
            hearts.append(asyncio.create_task(beating(heartbeat_file)))
            partial = ready_file.with_suffix(".partial")
            partial.write_text(f"{url}/api\n")
            partial.rename(ready_file)

        server.startup = announce  # type: ignore[method-assign]
    listener.listen(2048)
    server.run(sockets=[listener])


def main(arguments: list[str] | None = None) -> int:
    """Command line of the module; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m commands.prefect_server", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="Prefect's home, <lab>/prefect")
    parser.add_argument("--port", type=int, required=True, help="TCP port on 127.0.0.1; 0 = a free one")
    parser.add_argument("--ready-file", type=Path, help="written with the API's URL once the server answers")
    parser.add_argument("--heartbeat-file", type=Path, help="touched every second while the server makes progress")
    asked = parser.parse_args(arguments)
    yield_processor()
    try:
        serve(asked.home, asked.port, ready_file=asked.ready_file, heartbeat_file=asked.heartbeat_file)
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


if __name__ == "__main__":
    sys.exit(main())
