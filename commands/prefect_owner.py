"""One Prefect database, one lab: pools have the same names in every lab, so two would move each other's robots.

A database of its own lies inside the lab (SQLite). On PostgreSQL the lab writes its identity into a Prefect variable at
its first start; the fleet of another lab is refused before it touches pools or flow runs.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import ObjectAlreadyExists

from commands.lab_state import write_whole
from nightlab.errors import ServiceError

NAME = "nightlab_lab"


def on_postgresql() -> bool:
    """Whether this process's lab keeps Prefect's database in PostgreSQL."""
    return os.environ.get("PREFECT_SERVER_DATABASE_CONNECTION_URL", "").startswith("postgresql")


def identity_file(lab: Path) -> Path:
    """Where a lab's identity stands: in no repository, so that a clone is another lab."""
    return lab / "prefect" / "lab-id"


async def claim_database(lab: Path) -> None:
    """Make the lab the owner of the database behind `PREFECT_API_URL`, or find that it is. A lab may have moved.

    Raises:
        ServiceError: another lab owns it.
    """
    lab = lab.resolve()
    file = identity_file(lab)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, uuid4().hex)
    mine = {"lab": file.read_text(), "path": str(lab)}
    async with get_client() as client:
        with contextlib.suppress(ObjectAlreadyExists):
            await client.create_variable(VariableCreate(name=NAME, value=mine))
            return
        found = await client.read_variable_by_name(NAME)
        owner: dict[str, Any] = found.value if found is not None and isinstance(found.value, dict) else {}
        path = Path(str(owner.get("path", "unknown")))
        if owner.get("lab") != mine["lab"] or _copied(file, identity_file(path)):
            raise ServiceError(
                f"Prefect's database belongs to the lab {path}: with one for two labs, {lab} would move its robots. Give "
                f"{lab} a database of its own, or take this one over if that lab is gone: docs/postgresql.md"
            )
        if path != lab:
            await client.update_variable(VariableUpdate(name=NAME, value=mine))


def _copied(mine: Path, other: Path) -> bool:
    """Whether the lab was copied rather than moved: its identity stands at the old place too."""
    with contextlib.suppress(OSError):
        return not other.samefile(mine) and other.read_text() == mine.read_text()
    return False
