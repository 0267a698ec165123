"""The few calls that the command line makes of Prefect, over plain HTTP: importing Prefect's own client costs 2 s."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from nightlab.errors import ServiceError, UsageError

FINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
"""State types that a flow run does not leave."""
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a flow run has come."""

    name: str
    """Prefect's word for people: Running, Completed, AwaitingRetry, …"""
    type: str
    message: str

    @property
    def final(self) -> bool:
        return self.type in FINAL

    @property
    def completed(self) -> bool:
        return self.type == "COMPLETED"


async def start_run(
    deployment: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    name: str = "",
    tags: Sequence[str] = (),
    api_url: str = "",
) -> UUID:
    """Ask for one flow run of a deployment, now; returns its id without waiting.

    Args:
        deployment: `campaign/campaign`, `station/robot-1`, …
        parameters: The flow's parameters as JSON values.
        name: Name of the flow run; default: the flow's own template.
        tags: Tags of the flow run.
        api_url: Address of the API; default: `PREFECT_API_URL`.

    Raises:
        UsageError: there is no such deployment, or the parameters do not fit its form.
        ServiceError: the server does not answer.
    """
    found = await _call("GET", f"/deployments/name/{deployment}", None, api_url)
    body = {"parameters": dict(parameters or {}), "tags": list(tags), "state": {"type": "SCHEDULED"}}
    body |= {"name": name} if name else {}
    made = await _call("POST", f"/deployments/{found['id']}/create_flow_run", body, api_url)
    return UUID(made["id"])


async def run_state(run: UUID | str, *, api_url: str = "") -> RunState:
    """The state of a flow run.

    Raises:
        ServiceError: the server does not answer.
    """
    state = (await _call("GET", f"/flow_runs/{run}", None, api_url)).get("state") or {}
    return RunState(state.get("name") or "", state.get("type") or "", state.get("message") or "")


async def live_runs(flow: str, campaign: str = "", *, api_url: str = "") -> list[UUID]:
    """Flow runs of a flow that have not ended, latest first; with `campaign`, without those of other campaigns."""
    states = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED"]
    body = {
        "flows": {"name": {"any_": [flow]}},
        "flow_runs": {"state": {"type": {"any_": states}}},
        "sort": "START_TIME_DESC",
        "limit": 50,
    }
    found = await _call("POST", "/flow_runs/filter", body, api_url)

    def other(run: Mapping[str, Any]) -> bool:
        name = (run.get("parameters", {}).get("spec") or {}).get("campaign", "")
        return bool(campaign and name and name != campaign)

    return [UUID(run["id"]) for run in found if not (run.get("auto_scheduled") or other(run))]


@cache
def _direct() -> urllib.request.OpenerDirector:
    """Loopback, whatever the proxy settings say. Made once: each one reads all certificates of the host (40 ms)."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


async def _call(method: str, path: str, body: Mapping[str, Any] | None, api_url: str) -> Any:
    url = (api_url or os.environ.get("PREFECT_API_URL", "")) + path
    return await asyncio.to_thread(_request, method, url, body)


def _request(method: str, url: str, body: Mapping[str, Any] | None) -> Any:
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with _direct().open(request, timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        detail = error.read().decode(errors="replace")[:600]
        if error.code < 500:
            raise UsageError(
                f"Prefect refuses {url}: {detail}. See the deployments in the UI: nightlab status"
            ) from None
        raise ServiceError(
            f"Prefect failed at {url} ({error.code}): {detail}. See run/logs/prefect.log of the lab"
        ) from None
    except (OSError, ValueError) as error:
        raise ServiceError(f"Prefect does not answer at {url}: {error}. See: nightlab status") from None
