"""The run of a subflow that is made beforehand (flows/next_run.py), against a Prefect server."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from nightlab.errors import UsageError

pytestmark = pytest.mark.timeout(180)


def test_the_run_of_a_subflow_is_made_before_it_is_called(prefect_lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import flow, get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.runtime import flow_run
    from prefect.states import Cancelled

    from flows import next_run

    monkeypatch.setattr(next_run, "AFTER_S", 0.0)

    @flow(name="guest", flow_run_name="guest {work}", persist_result=False)
    async def guest(station: str, work: str = "") -> str:
        if work == "bad":
            raise UsageError("bad work")
        return str(flow_run.id)

    @flow(name="host", persist_result=False)
    async def host() -> dict[str, Any]:
        async def ready(begin: next_run.NextRun) -> UUID:
            assert begin._making is not None
            made = await begin._making
            assert made is not None
            return made.id

        async with next_run.NextRun(guest, station="robot-1") as begin:
            at_once = await begin("I1 on robot-1", station="robot-1", work="I1")
            beforehand = await ready(begin)
            used = await begin("I2 on robot-1", station="robot-1", work="I2")
            bad = await ready(begin)
            with pytest.raises(UsageError, match="bad work"):
                await begin("I3 on robot-1", station="robot-1", work="bad")
            async with get_client() as client:
                await client.set_flow_run_state(await ready(begin), Cancelled(), force=True)
                after_cancelled = await begin("I4 on robot-1", station="robot-1", work="I4")
                await client.delete_flow_run(await ready(begin))
                after_deleted = await begin("I5 on robot-1", station="robot-1", work="I5")
            assert len({at_once, used, after_cancelled, after_deleted}) == 4, "what was ended in the UI is run anew"
            left = await ready(begin)
        return {"host": flow_run.id, "at_once": at_once, "made": beforehand, "used": used, "bad": bad, "left": left}

    found = asyncio.run(host())
    assert found["used"] == str(found["made"]), "the second call has the run that was made"

    async def read(client: Any) -> None:
        first, second, bad = [await client.read_flow_run(found[name]) for name in ("at_once", "used", "bad")]
        assert (first.name, second.name, bad.name) == ("guest I1", "I2 on robot-1", "I3 on robot-1")
        assert (first.state.name, second.state.name, bad.state.name) == ("Completed", "Completed", "Failed")
        assert second.parameters == {"station": "robot-1", "work": "I2"}
        for run in (first, second, bad):
            place = await client.read_task_run(run.parent_task_run_id)
            assert str(place.flow_run_id) == str(found["host"]), "it stands in its parent's graph"
        with pytest.raises(ObjectNotFound):
            await client.read_flow_run(found["left"])

    async def look() -> None:
        async with get_client() as client:
            await read(client)

    asyncio.run(look())
