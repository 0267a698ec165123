"""The control thread of a station server: the only owner of driver and world. It paces the control periods.

Other threads hand it jobs. *Quick* jobs (observe, capture) also run while it waits for a period to end; the rest wait
for each other. An e-stop waits for nothing: it is an attribute that is read before and after every period.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.errors import EstopError, NightlabError, StationError
from nightlab.records import StepFlags
from robots.clock import StationClock
from robots.driver import Driver
from robots.latch import Latch
from robots.monitor import Monitor
from robots.tick import Tick

MAX_DEBT_S: Final = 0.5
"""Wall seconds of delay that a simulated station makes up for by running its next periods without pause."""


@dataclass(slots=True)
class Counters:
    """What a station did since it was started."""

    seq: int = 0
    periods: int = 0
    late: int = 0
    clamped: int = 0
    refused: int = 0
    streams: int = 0
    faults: int = 0
    protective_stops: int = 0
    control_wall_s: float = 0.0
    control_station_s: float = 0.0


class Job:
    """A function that runs on the control thread, and its outcome."""

    __slots__ = ("_done", "_error", "_function", "_value", "quick")

    def __init__(self, function: Callable[[], Any], *, quick: bool) -> None:
        self.quick = quick
        self._function = function
        self._done = threading.Lock()
        self._done.acquire()
        self._value: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Run on the control thread."""
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error
        self._done.release()

    def result(self, timeout_s: float) -> Any:
        """Wait for the outcome."""
        if not self._done.acquire(timeout=timeout_s):
            raise StationError(f"the control thread did not answer within {timeout_s:g} s; the driver hangs")
        if self._error is not None:
            raise self._error
        return self._value


def take(jobs: SimpleQueue[Job], timeout_s: float | None) -> Job | None:
    """The next job; None if none came in time. For the queue's only reader.

    `SimpleQueue.get` with a timeout waits for ever (CPython 3.12) if the job before it was taken without waiting and its
    time is up before it waits: the lock is still open then, is closed in a first round, and the second round begins
    with a negative timeout. Asking without waiting first closes it.
    """
    try:
        return jobs.get_nowait()
    except Empty:
        pass
    try:
        return jobs.get(timeout=None if timeout_s is None else max(0.0, timeout_s))
    except Empty:
        return None


class Controller:
    """Runs a driver, one control period at a time.

    Args:
        driver: the robot cell.
        latch: keeps an e-stop over restarts; default: none does.
    """

    def __init__(self, driver: Driver, latch: Latch | None = None) -> None:
        spec = driver.spec()
        self.driver = driver
        self.rate_hz = spec.rate_hz
        self.speed = spec.speed
        self.clock = StationClock(spec.speed, 1.0 / spec.rate_hz)
        self.counters = Counters()
        self.estopped = ""
        self.estop_s = 0.0
        """`time.monotonic()` at which the e-stop was latched; 0: it is not."""
        self.motion_s = 0.0
        """`time.monotonic()` at which the latest command had been given to the driver."""
        self.monitor: Monitor | None = None
        """What is measured, against the limits of station.yaml; None: there are none."""
        self.exceeded = ""
        """Which limit the latest control period passed: a protective stop; empty: none."""
        self._latch = latch or Latch()
        self._estop_lock = threading.Lock()
        """Held by what may take a while and must not cross a clear; never waited for before the driver is stopped."""
        self._count_lock = threading.Lock()
        self.presses = 0
        """How often the e-stop was pressed."""
        self._carried_out = 0
        """How many of the presses have told the driver to stop."""
        self.unstopped = ""
        """Why the driver cannot say that it stopped; empty: it did."""
        self._confirmed = True
        """Whether the driver has been told a second time to stop, and did not object."""
        self._look_asked = False
        self._seen: dict[str, NDArray[np.float64]] | None = None
        """What the monitor observed at the end of this period: the sensors are read once."""
        self._controlling = False
        self.timer: Callable[[], float | None] = lambda: None
        """When the open control session wants `on_time` (monotonic seconds); None: never."""
        self.on_time: Callable[[], None] = lambda: None
        self._period_wall_s = 1.0 / (spec.rate_hz * spec.speed) if spec.speed > 0 else 0.0
        self._debt_s = MAX_DEBT_S if spec.simulated else 0.0
        self._due = 0.0
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._deferred: deque[Job] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="control", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread after the present period."""
        self._stopping = True
        self.wake()
        self._thread.join(timeout=5.0)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def call(self, function: Callable[[], Any], *, quick: bool = False, timeout_s: float = 30.0) -> Any:
        """Run a function on the control thread and wait for its outcome."""
        job = Job(function, quick=quick)
        self._jobs.put(job)
        return job.result(timeout_s)

    def post(self, function: Callable[[], Any], *, quick: bool = False) -> None:
        """Run a function on the control thread some time later."""
        self._jobs.put(Job(function, quick=quick))

    def wake(self) -> None:
        """Make the thread look at its flags at once."""
        self._jobs.put(Job(lambda: None, quick=True))

    def estop(self, reason: str) -> None:
        """Stop motion now; from any thread. Stays until `clear`, over restarts too; the first reason is kept.

        Raises:
            StationError: the driver cannot say that it stopped. Latched all the same; it is told again until it can.
        """
        with self._count_lock:
            self.presses += 1
        first = not self.estopped
        if first:
            self.estop_s = time.monotonic()
            self.estopped = " ".join(reason.split())[:300] or "no reason given"
        try:
            self._stop_driver()
        finally:
            with self._count_lock:
                self._carried_out += 1
            self._confirmed = False
            self.wake()
            if first:
                with self._estop_lock:
                    self._latch.set(self.estopped)
        if self.unstopped:
            raise StationError(f"e-stop latched, but {self.unstopped}")

    def confirm_stop(self) -> None:
        """Tell the driver again to stop until it does not object; for the watchdog. Does not wait for a clear."""
        if self._confirmed or not self._estop_lock.acquire(blocking=False):
            return
        try:
            if self.estopped:
                self._stop_driver()
                self._confirmed = not self.unstopped
        finally:
            self._estop_lock.release()

    def _stop_driver(self) -> None:
        told = self.unstopped
        try:
            self.driver.stop(self.estopped)
            self.unstopped = ""
        except Exception as error:
            self.unstopped = " ".join(str(error).split()) or type(error).__name__
            if self.unstopped != told:
                print(f"e-stop: {self.unstopped}", file=sys.stderr, flush=True)

    def relatch(self) -> None:
        """Take up an e-stop that held when the server ended."""
        reason = self._latch.read()
        if reason:
            self.estopped, self.estop_s, self._confirmed = reason, time.monotonic(), False
            self._stop_driver()

    def clear(self) -> None:
        """Allow motion again after an e-stop.

        Raises:
            StationError: the driver cannot, or the latch cannot be removed; the e-stop stays.
        """
        with self._estop_lock:
            carried_out = self._carried_out
            try:
                self.driver.clear()
                self._latch.clear()
            except Exception as error:
                self._confirmed = False
                self._stop_driver()
                if isinstance(error, OSError):
                    raise StationError(f"the latch cannot be removed ({error}); the e-stop stays") from error
                raise
            self.estopped, self.estop_s, self.exceeded, self.unstopped = "", 0.0, "", ""
        if self.presses != carried_out:  # also one that began before and stops the driver only now
            self.estop("pressed again while it was cleared")
        self.look_when_idle()

    def check_estop(self) -> None:
        """Raises EstopError while the e-stop holds."""
        if self.estopped:
            raise EstopError(
                f"e-stop: {self.estopped}. The robot holds. Look at the cell, then: nightlab estop --clear (a station "
                "without a lab: nightlab station clear ADDRESS)"
            )

    def inspect(self) -> None:
        """Compare what is measured with the station's limits. Cuts the power, or sets `exceeded`.

        Raises:
            StationError: the driver could not measure.
        """
        if self.monitor is None:
            return
        try:
            self._seen = seen = self.driver.observe()
            breach = self.monitor.look(self.driver.joint_states(), seen, self.counters.seq)
        except NightlabError:
            raise
        except Exception as error:  # blind: the robot holds
            self.exceeded = f"the safety monitor failed ({type(error).__name__}: {error})"
            return
        if breach is None:
            self.exceeded = ""
        elif breach.cut:
            self.counters.faults += 1
            self.estop(f"power cut: {breach.reason}")
        else:
            self.exceeded = breach.reason

    def look_when_idle(self) -> None:
        """Have `inspect` run between control streams; one such look waits at a time."""
        if self.monitor is not None and not self._look_asked:
            self._look_asked = True
            self.post(self._idle_look)

    def _idle_look(self) -> None:
        """What cannot be measured then is no news."""
        self._look_asked = False
        if not (self._controlling or self.estopped):
            try:
                self.inspect()
            except NightlabError:
                return

    def begin(self) -> None:
        """Time is counted in control periods from here on."""
        self.clock.begin_control()
        self._controlling = True
        self._due = time.monotonic()

    def end(self) -> None:
        """Idle again."""
        self.clock.end_control()
        self._controlling = False

    def period(self, action: Values, cancelled: Callable[[], bool]) -> None:
        """Run one control period: command, wait until its end. Stops waiting when cancelled or e-stopped.

        Raises:
            StationError: e-stop, or the driver failed.
        """
        self.check_estop()
        if self._stopping:
            raise StationError("the station server ends; the robot holds")
        begin = time.monotonic()
        try:
            self.driver.step(action)
            self.motion_s = time.monotonic()
        except Exception as error:
            self.check_estop()  # its power was cut meanwhile
            self.counters.faults += 1
            raise (
                error
                if isinstance(error, StationError)
                else StationError(f"station fault: {type(error).__name__}: {error}; see the station's log")
            ) from error
        if self._period_wall_s:
            self._due = max(self._due, begin - self._debt_s) + self._period_wall_s
            self._wait(self._due, cancelled)
        self.counters.seq += 1
        self.counters.periods += 1
        self.check_estop()
        if self.monitor is not None:
            self.inspect()
            self.check_estop()

    def look(self, executed: Values, flags: StepFlags | None = None, *, tick: bool) -> Tick:
        """What the sensors say; `tick`: at the end of a control period."""
        stamp = self.clock.tick() if tick else self.clock.now()
        seen, self._seen = self._seen if tick else None, None
        return Tick(self.counters.seq, stamp, self.driver.observe() if seen is None else seen, executed, flags)

    def film(self) -> NDArray[np.uint8] | None:
        """A 256 px picture of the first camera, if there is one."""
        cameras = self.driver.spec().cameras
        return self.driver.render(cameras[0].key, 256) if cameras else None

    def _wait(self, due: float, cancelled: Callable[[], bool]) -> None:
        while not (self.estopped or self._stopping or cancelled()):
            left_s = due - time.monotonic()
            if left_s <= 0:
                return
            job = take(self._jobs, left_s)
            if job is None:
                return
            if job.quick:
                job.run()
            else:
                self._deferred.append(job)

    def _next(self) -> Job | None:
        if self._deferred:
            return self._deferred.popleft()
        at = self.timer()
        return take(self._jobs, None if at is None else at - time.monotonic())

    def _loop(self) -> None:
        while not self._stopping:
            job = self._next()
            if job is not None:
                job.run()
            elif not self._stopping:
                with contextlib.suppress(NightlabError):  # the thread lives on; whoever asks next is told
                    self.on_time()
