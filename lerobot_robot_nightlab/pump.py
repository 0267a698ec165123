"""The thread between LeRobot's loop, which calls when it likes, and a station, which wants an action each period.

It holds the lease and the control stream. A new target runs for one control period; while none is there the station
holds the last one. So LeRobot may be slower than the station, or pause, and no action is ever late.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Observation
from nightlab.errors import NightlabError, SafetyError, StationError
from nightlab.records import StationSpec
from robots.client import StationClient

CALL_s = 15.0


class Pump:
    """One connection to a station. Thread-safe.

    Args:
        address: of the station.
        keys: folder with certificate and token, or empty.
        holder: name of the lease's holder.
        wait_s: how long to wait for the lease.

    Raises:
        NightlabError: nobody answers there, the lease is not to be had, or the e-stop is on.
    """

    def __init__(self, address: str, keys: str, holder: str, wait_s: float) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="station", daemon=True)
        self._thread.start()
        self._wanted: tuple[dict[str, NDArray[np.float64]], Future[Observation]] | None = None
        self._broken: NightlabError | None = None
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        try:
            self._call(self._open(address, keys, holder, wait_s), wait_s + CALL_s)
        except BaseException:
            self._stop_loop()
            raise

    @property
    def alive(self) -> bool:
        """Whether the control stream is open."""
        return self._broken is None and not self._closing

    def latest(self) -> Observation:
        """What the station saw at the last control tick. Raises NightlabError once the stream has ended."""
        if self._broken is not None:
            raise self._broken
        return self._seen

    def send(self, action: dict[str, NDArray[np.float64]]) -> Observation:
        """Run a target for one control period; the observation at its end says what was executed.

        Raises:
            NightlabError: refused, e-stop, or the station is gone or silent.
        """
        done: Future[Observation] = Future()
        self._wanted = (action, done)
        if self._broken is not None:  # asked last: a stream that ends now resolves what is wanted
            raise self._broken
        try:
            return done.result(timeout=CALL_s)
        except TimeoutError as error:
            raise StationError(f"the station has not executed the action within {CALL_s:g} s; is it paused?") from error

    def picture(self, camera: str) -> NDArray[np.uint8]:
        """The newest picture of a camera, uint8 [height, width, 3]."""
        rgb: NDArray[np.uint8] = self._call(self._station.capture(camera), CALL_s).rgb
        return rgb

    def close(self) -> None:
        """Hold, give the lease back, leave. Idempotent."""
        if self._closing:
            return
        self._closing = True
        try:
            self._call(self._leave(), CALL_s)
        finally:
            self._stop_loop()

    def _call(self, work: Coroutine[Any, Any, Any], timeout_s: float) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    async def _open(self, address: str, keys: str, holder: str, wait_s: float) -> None:
        self._station = await StationClient.connect(address, keys=keys)
        try:
            self.spec: StationSpec = await self._station.describe()
            self._lease = await self._station.lease(holder, self.spec.limits, wait_s=wait_s)
            ready: asyncio.Future[None] = self._loop.create_future()
            self._task = self._loop.create_task(self._run(holder, ready))
            await ready
        except BaseException:
            await self._station.close()
            raise

    async def _run(self, holder: str, ready: asyncio.Future[None]) -> None:
        try:
            async with self._station.control(self._lease, holder) as session:
                self._seen = await session.hold()
                ready.set_result(None)
                while not self._closing:
                    wanted, self._wanted = self._wanted, None
                    if wanted is None:
                        self._seen = await session.hold()
                        continue
                    action, done = wanted
                    try:
                        (self._seen,) = await session.step([action])
                        done.set_result(self._seen)
                    except SafetyError as error:  # refused: the robot held, the stream goes on
                        done.set_exception(error)
                    except Exception as error:
                        done.set_exception(_told(error))
                        raise
        except Exception as error:
            self._end(_told(error), ready)

    def _end(self, error: NightlabError, ready: asyncio.Future[None]) -> None:
        self._broken = error
        if not ready.done():
            ready.set_exception(error)
        wanted, self._wanted = self._wanted, None
        if wanted is not None and not wanted[1].done():
            wanted[1].set_exception(error)

    async def _leave(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task], timeout=5.0)
        await self._station.close()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5.0)


def _told(error: Exception) -> NightlabError:
    """An error of the control stream as LeRobot's loop gets it."""
    if isinstance(error, NightlabError):
        return error
    return StationError(f"the control stream broke: {type(error).__name__}: {error}")


def describe(address: str, keys: str = "") -> StationSpec:
    """A station's spec, without holding it. Raises StationError: nobody answers there."""

    async def ask() -> StationSpec:
        station = await StationClient.connect(address, keys=keys)
        try:
            return await station.describe()
        finally:
            await station.close()

    box: list[StationSpec | BaseException] = []

    def work() -> None:
        try:
            box.append(asyncio.run(ask()))
        except BaseException as error:
            box.append(error)

    thread = threading.Thread(target=work)  # the caller may have an event loop of its own
    thread.start()
    thread.join()
    if isinstance(box[0], BaseException):
        raise box[0]
    return box[0]
