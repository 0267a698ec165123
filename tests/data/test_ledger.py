from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from data.ledger import LedgerReader, SqliteLedger
from nightlab.contracts import Ledger
from nightlab.errors import LabError
from nightlab.records import Event, EventKind


def event(name: str, kind: EventKind = "note", **fields: str) -> Event:
    return Event.model_validate({"event_id": name, "kind": kind, "wall_s": 12.5, "data": {"text": name}, **fields})


def test_appending_returns_growing_numbers_and_events_come_back_in_order(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    numbers = [ledger.append(event(f"e{n}")) for n in range(5)]
    assert numbers == sorted(set(numbers))
    found = ledger.events()
    assert [e.event_id for e in found] == ["e0", "e1", "e2", "e3", "e4"]
    assert [e.seq for e in found] == numbers
    assert found[0].data == {"text": "e0"}
    assert found[0].wall_s == 12.5


def test_the_same_event_id_twice_is_one_row(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    first = ledger.append_new(event("e", campaign="C1"))
    second = ledger.append_new(event("e", campaign="C2"))
    assert (first[1], second[1]) == (True, False)
    assert first[0] == second[0]
    assert [e.campaign for e in ledger.events()] == ["C1"]


def test_events_are_found_by_campaign_kind_iteration_and_number(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.append(event("a", "note", campaign="C1", iteration="I1"))
    seq = ledger.append(event("b", "judged", campaign="C1", iteration="I2"))
    ledger.append(event("c", "judged", campaign="C2", iteration="I2"))
    assert [e.event_id for e in ledger.events(campaign="C1", kind="judged")] == ["b"]
    assert [e.event_id for e in ledger.events(iteration="I2")] == ["b", "c"]
    assert [e.event_id for e in ledger.events(since=seq)] == ["c"]
    assert ledger.get("b") is not None
    assert ledger.get("z") is None
    assert ledger.last_seq() == seq + 1


def test_a_reader_sees_what_the_writer_commits_and_cannot_write(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    with LedgerReader(tmp_path / "ledger.db") as reader:
        assert reader.events() == []
        ledger.append(event("late"))
        assert [e.event_id for e in reader.events()] == ["late"]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._connection.execute("DELETE FROM events")


@pytest.mark.parametrize("statement", ["DELETE FROM events", "UPDATE events SET kind = 'note'"])
def test_rows_never_change(tmp_path: Path, statement: str) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.append(event("e"))
    with pytest.raises(sqlite3.DatabaseError, match="the ledger is append-only"):
        ledger._connection.execute(statement)
    assert len(ledger.events()) == 1


def test_a_ledger_survives_being_closed_and_opened(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.db") as ledger:
        ledger.append(event("e"))
    with LedgerReader(tmp_path / "ledger.db") as reader:
        assert [e.event_id for e in reader.events()] == ["e"]


@pytest.mark.parametrize("kind", [SqliteLedger, LedgerReader])
def test_a_file_that_is_no_database_is_named_with_the_way_out(tmp_path: Path, kind: type[LedgerReader]) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(LabError, match=r"ledger.*is not readable: file is not a database.*sqlite3 .*\.recover"):
        kind(path)


def test_a_damaged_page_is_found_on_opening(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with SqliteLedger(path) as ledger:
        for number in range(400):
            ledger.append(event(f"e{number}", campaign="C1"))
        ledger._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw = bytearray(path.read_bytes())
    for page in range(4096 * 3, len(raw) - 4096, 4096 * 2):
        raw[page : page + 512] = b"\xff" * 512
    path.write_bytes(raw)
    with pytest.raises(LabError, match="start a new lab: nightlab run"):
        SqliteLedger(path)


def test_a_missing_ledger_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"no ledger at .*Start a lab with: nightlab up"):
        LedgerReader(tmp_path / "ledger.db")


def test_it_is_the_contract(tmp_path: Path) -> None:
    ledger: Ledger = SqliteLedger(tmp_path / "ledger.db")
    assert ledger.append(event("e")) == 1
