"""A lab's Prefect server that waits 0.2 s for SQLite's lock rather than 60: `python impatient_server.py HOME READY`."""

import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from commands.prefect_server import serve


def impatient(connection: Any, *_: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 200")
    cursor.close()


sa.event.listen(sa.pool.Pool, "checkout", impatient)
serve(Path(sys.argv[1]), 0, ready_file=Path(sys.argv[2]))
