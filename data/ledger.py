"""The ledger: an append-only table of events in SQLite (WAL). Every number in any report is derived from it.

`SqliteLedger` is for the keeper alone; everybody else reads with `LedgerReader`, which sees committed rows at once.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any, Self

from nightlab.errors import LabError
from nightlab.records import Event

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    campaign TEXT NOT NULL,
    iteration TEXT NOT NULL,
    station TEXT NOT NULL,
    wall_s REAL NOT NULL,
    schema_version INTEGER NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_campaign ON events (campaign, kind, seq);
CREATE INDEX IF NOT EXISTS events_by_kind ON events (kind, seq);
CREATE INDEX IF NOT EXISTS events_by_iteration ON events (iteration, kind, seq);
CREATE TRIGGER IF NOT EXISTS events_never_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS events_never_go BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""
COLUMNS = "seq, event_id, kind, campaign, iteration, station, wall_s, schema_version, data"
BUSY_S = 10.0
"""How long a reader or the writer waits for SQLite's lock."""


def corrupt(path: Path, why: str) -> LabError:
    """The error of an unreadable ledger."""
    return LabError(
        f"the ledger {path} is not readable: {why}. Ideas (git) and rollouts (DVC) are not affected. "
        f"Save what is left with: sqlite3 {path} .recover > ledger.sql   "
        f"or start a new lab: nightlab run ENV --lab NEWDIR"
    )


def _event(row: tuple[Any, ...]) -> Event:
    seq, event_id, kind, campaign, iteration, station, wall_s, schema_version, data = row
    return Event(
        event_id=event_id,
        kind=kind,
        campaign=campaign,
        iteration=iteration,
        station=station,
        wall_s=wall_s,
        schema_version=schema_version,
        data=json.loads(data),
        seq=seq,
    )


class LedgerReader:
    """Reads a lab's ledger; never writes. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Open an existing ledger.

        Raises:
            LabError: the file is missing or no SQLite database.
        """
        self.path = path
        self._lock = threading.Lock()
        if not path.is_file():
            raise LabError(f"no ledger at {path}. Start a lab with: nightlab up --lab {path.parent}")
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{self.path}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT seq FROM events LIMIT 1").fetchone()
        except sqlite3.DatabaseError as error:
            connection.close()
            raise corrupt(self.path, str(error)) from error
        return connection

    def events(
        self, *, campaign: str = "", kind: str = "", since: int = 0, iteration: str = "", event_id: str = ""
    ) -> list[Event]:
        """Events with `seq > since` in the order they were appended; empty filters match everything."""
        where, values = ["seq > ?"], [since]  # type: tuple[list[str], list[Any]]
        for column, value in (("campaign", campaign), ("kind", kind), ("iteration", iteration), ("event_id", event_id)):
            if value:
                where.append(f"{column} = ?")
                values.append(value)
        query = f"SELECT {COLUMNS} FROM events WHERE {' AND '.join(where)} ORDER BY seq"
        try:
            with self._lock:
                rows = self._connection.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise corrupt(self.path, str(error)) from error
        return [_event(row) for row in rows]

    def get(self, event_id: str) -> Event | None:
        """The event of that id, or None."""
        found = self.events(event_id=event_id)
        return found[0] if found else None

    def last_seq(self) -> int:
        """`seq` of the newest event; 0 for an empty ledger. Cheap: for polling."""
        with self._lock:
            row = self._connection.execute("SELECT MAX(seq) FROM events").fetchone()
        return int(row[0] or 0)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SqliteLedger(LedgerReader):
    """The one writer: creates the file where it is missing, checks its integrity, appends."""

    def __init__(self, path: Path) -> None:
        """Open or create the ledger and check it.

        Raises:
            LabError: the file is corrupt; the message says what to do.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        super().__init__(path)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            findings = [row[0] for row in connection.execute("PRAGMA integrity_check")]
            if findings != ["ok"]:
                raise corrupt(self.path, "; ".join(findings[:3]))
            connection.executescript(SCHEMA)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise corrupt(self.path, str(error)) from error
        except LabError:
            connection.close()
            raise
        return connection

    def append(self, event: Event) -> int:
        """Append durably and return the row's `seq`; an `event_id` that is there already returns its old `seq`."""
        return self.append_new(event)[0]

    def append_new(self, event: Event) -> tuple[int, bool]:
        """As `append`; the second value is False if the `event_id` was there already (that row stays as it is)."""
        values = (
            event.event_id, event.kind, event.campaign, event.iteration, event.station, event.wall_s,
            event.schema_version, json.dumps(event.data, separators=(",", ":"), allow_nan=False),
        )  # fmt: skip
        with self._lock:
            cursor = self._connection.execute(
                "INSERT INTO events (event_id, kind, campaign, iteration, station, wall_s, schema_version, data) "
                "VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (event_id) DO NOTHING",
                values,
            )
            if cursor.rowcount == 1 and cursor.lastrowid is not None:
                return cursor.lastrowid, True
            row = self._connection.execute("SELECT seq FROM events WHERE event_id = ?", (event.event_id,)).fetchone()
        return int(row[0]), False
