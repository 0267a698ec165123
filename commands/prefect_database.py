"""An empty Prefect database, made once per environment: a new lab copies it rather than run 100 migrations (4 s CPU).

`python -m commands.prefect_database` makes it, and imports what server and fleet import, so that its bytecode is there.
`make` does so when it installs. Without it a new lab's first start is slower, nothing else.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import sqlite3
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

NAME = "prefect.db"
HEAVY = ("prefect.server.api.server", "prefect.workers.process", "prefect.flow_engine", "uvicorn")
"""What server, fleet and flow runs import."""


def template() -> Path:
    """Where the empty database lies: inside the Python environment, per version of Prefect."""
    return Path(sys.prefix) / "var" / "nightlab" / f"prefect-{version('prefect')}.db"


def seed(home: Path) -> bool:
    """Give a new Prefect home the empty database; False if it has one already or there is none to copy."""
    target, source = home / NAME, template()
    if target.exists() or not source.is_file():
        return False
    partial = target.with_suffix(".part")
    shutil.copyfile(source, partial)
    partial.replace(target)
    return True


def make(target: Path) -> None:
    """Run Prefect's migrations on a new SQLite database and leave it at `target`, in one file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as room:
        os.environ["PREFECT_HOME"] = room
        os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
        os.environ.pop("PREFECT_SERVER_DATABASE_CONNECTION_URL", None)
        os.environ.pop("PREFECT_API_DATABASE_CONNECTION_URL", None)
        asyncio.run(_migrate())
        made = Path(room) / NAME
        connection = sqlite3.connect(made)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")
        finally:
            connection.close()
        made.replace(target)


async def _migrate() -> None:
    from prefect.server.database import provide_database_interface

    await provide_database_interface().create_db()


if __name__ == "__main__":
    if not template().exists():
        make(template())
    for module in HEAVY:
        importlib.import_module(module)
    print(template().relative_to(sys.prefix))
