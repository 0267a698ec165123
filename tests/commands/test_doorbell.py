"""The doorbell against a real Prefect server: whose flow runs are due, and that nothing stops it."""

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from commands.deployments import ensure_pool, job_template
from commands.doorbell import pools_with_work, ring

pytestmark = pytest.mark.timeout(180)


def test_pools_with_due_runs_are_rung_until_they_have_none(prefect_lab: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = os.environ["PREFECT_API_URL"]
    rung: list[str] = []

    async def main() -> tuple[set[str], set[str]]:
        from prefect.client.orchestration import get_client

        async with get_client() as client, httpx.AsyncClient(base_url=url, timeout=60.0, trust_env=False) as http:
            flow = (await http.post("/flows/", json={"name": "bell"})).json()["id"]
            runs: dict[str, str] = {}
            for pool, state in (
                ("bell-now", {}),
                ("bell-later", {"state_details": {"scheduled_time": "2099-01-01T00:00:00Z"}}),
            ):
                await ensure_pool(client, pool, job_template("true"))
                asked: dict[str, Any] = {"flow_id": flow, "name": pool, "work_pool_name": pool}
                deployment = (await http.post("/deployments/", json=asked)).json()["id"]
                body = {"state": {"type": "SCHEDULED", **state}}
                runs[pool] = (await http.post(f"/deployments/{deployment}/create_flow_run", json=body)).json()["id"]
            before = await pools_with_work(client, 2.0)

            async def fetch() -> None:
                rung.append("bell-now")
                if len(rung) == 1:
                    raise OSError("the server was away")
                await client.delete_flow_run(runs["bell-now"])

            async def never() -> None:
                rung.append("bell-later")

            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5.0):
                    await ring({"bell-now": fetch, "bell-later": never}, prefetch_s=2.0, look_s=0.1)
            after = await pools_with_work(client, 2.0)
            for pool in runs:
                await client.delete_work_pool(pool)
            return before, after

    with caplog.at_level(logging.WARNING, "nightlab.fleet"):
        before, after = asyncio.run(main())
    assert ("bell-now" in before, "bell-later" in before, "bell-now" in after) == (True, False, False)
    assert rung == ["bell-now", "bell-now"], "again after it failed, and no more once nothing is due"
    assert "cannot look for flow runs that are due: OSError: the server was away" in caplog.text
