import asyncio
from pathlib import Path
from typing import Any

import pytest

from commands import prefect_room
from commands.prefect_room import RoomFirst


async def inner(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def ask(room: RoomFirst, method: str) -> tuple[int, dict[bytes, bytes]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(room({"type": "http", "method": method}, None, send))  # type: ignore[arg-type]
    return sent[0]["status"], dict(sent[0]["headers"])


def test_writes_wait_for_room_and_reads_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(RoomFirst(inner, tmp_path), "POST") == (200, {})
    monkeypatch.setattr(prefect_room, "short_at", lambda folder, part: f"0 MiB free at {folder}")
    full = RoomFirst(inner, tmp_path)
    status, headers = ask(full, "POST")
    assert (status, headers[b"retry-after"]) == (503, b"2")
    assert ask(full, "GET")[0] == 200
    monkeypatch.setattr(prefect_room, "short_at", lambda folder, part: "")
    monkeypatch.setattr(prefect_room, "LOOK_S", -1.0)
    assert ask(full, "POST")[0] == 200, "as soon as there is room the same server goes on"
