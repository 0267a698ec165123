"""The run of a station's next iteration, made while nobody waits for it.

Before a subflow begins, Prefect asks its server for six things, one after the other; four of them only make the run. On
a server that 32 stations share that took longer than the rest, so it is done beforehand.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Self

import httpx
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import AsyncClientContext
from prefect.exceptions import PrefectException, PrefectSignal
from prefect.flow_engine import AsyncFlowRunEngine
from prefect.logging import get_run_logger

AFTER_S = 2.0
"""After the start of one run the next is made, wall seconds: the server has the start behind it by then."""


class NextRun:
    """Calls a flow as a subflow of the present one, in a run that was made beforehand if there is one.

    Use it as an async context manager inside the parent flow; what was made and not used is deleted at its end.

    Args:
        flow: What is called; async.
        known: The parameters that are known beforehand; the flow must accept them alone.
    """

    def __init__(self, flow: Flow[Any, Any], **known: Any) -> None:
        self._flow, self._known = flow, known
        self._named = flow.with_options()
        self._named.flow_run_name = None  # a name is given to the run here, in the same request as its parameters
        self._making: asyncio.Task[FlowRun | None] | None = None

    async def __aenter__(self) -> Self:
        self._make(0.0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        making, self._making = self._making, None
        if making is None:
            return
        making.cancel()
        await asyncio.wait({making})
        made = _outcome(making)
        if made is not None:
            with contextlib.suppress(PrefectException, httpx.HTTPError):
                await _delete(made)

    async def __call__(self, name: str, **parameters: Any) -> Any:
        """Run the flow and return what it returns.

        Args:
            name: Of its run, in the UI.
            parameters: Of the flow, all of them.
        """
        made = self._take()
        if made is None:
            return await self._flow(**parameters)
        engine: AsyncFlowRunEngine[Any, Any] = AsyncFlowRunEngine(self._named, parameters=parameters, flow_run=made)
        told = asyncio.create_task(self._tell(made, name, parameters))
        began = False
        try:
            async with engine.start():
                began = engine.is_running()
                while engine.is_running():
                    async with engine.run_context():
                        _ = await engine.call_flow_fn()  # it is in `engine.result`
        except (PrefectException, PrefectSignal, httpx.HTTPError):
            if began:
                raise
        finally:
            await told
        return await (engine.result() if began else self._flow(**parameters))  # somebody ended or deleted it in the UI

    def _take(self) -> FlowRun | None:
        """The run that was made, if it is ready; another one is begun then, or if making it failed."""
        if self._making is None or not self._making.done():
            return None
        made = _outcome(self._making)
        self._make(AFTER_S)
        return made

    def _make(self, after_s: float) -> None:
        async def make() -> FlowRun | None:
            await asyncio.sleep(after_s)
            engine: AsyncFlowRunEngine[Any, Any] = AsyncFlowRunEngine(flow=self._flow, parameters=dict(self._known))
            async with AsyncClientContext.get_or_create() as found:
                made = await engine.create_flow_run(found.client)
                if made.state is None or not made.state.is_pending():
                    return None  # one of an earlier attempt of the parent: Prefect found it again, it has ended
                await found.client.update_flow_run(made.id, name=f"next {self._flow.name}")
            return made

        self._making = asyncio.create_task(make())

    async def _tell(self, made: FlowRun, name: str, parameters: dict[str, Any]) -> None:
        """Write name and parameters to the run, beside its start."""
        made.name = name
        try:
            async with AsyncClientContext.get_or_create() as found:
                sent = self._flow.serialize_parameters(parameters)
                await found.client.update_flow_run(made.id, name=name, parameters=sent)
        except (PrefectException, httpx.HTTPError) as error:
            get_run_logger().warning("%s has no name and parameters in the UI: %s", name, error)


def _outcome(making: asyncio.Task[FlowRun | None]) -> FlowRun | None:
    """What a task that has ended made; one that failed made nothing: Prefect makes the run at the call then."""
    return None if making.cancelled() or making.exception() is not None else making.result()


async def _delete(made: FlowRun) -> None:
    """Remove a run that never began, and its place in the parent's graph."""
    async with AsyncClientContext.get_or_create() as found:
        client: PrefectClient = found.client
        await client.delete_flow_run(made.id)
        if made.parent_task_run_id is not None:
            await client.delete_task_run(made.parent_task_run_id)
