"""One station as its server knows it: driver, control thread, lease, the open control stream, e-stop. No gRPC here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.errors import EstopError, NightlabError, SafetyError, StationError
from nightlab.heartbeat import PERIOD_S, beat
from nightlab.records import LimitsSpec, SafetyConfig
from robots.clock import Stamp
from robots.controller import Controller
from robots.driver import Driver, Primitive
from robots.latch import Latch
from robots.lease import Grant, LeaseTable
from robots.monitor import Monitor
from robots.narrow import step_changes
from robots.safety import SafetyFilter, intersect
from robots.session import Reply, Session
from robots.tick import Tick

WATCH_S = 0.1
STUCK_S = 2.0
"""A watchdog that has not turned for so long no longer counts as alive."""
"""How often the watchdog looks for lapsed leases."""
MOTION_TIMEOUT_S = 120.0
FREEING = ("home", "release")
"""Primitives that lead back from a limit that was passed before they began."""


class Cell:
    """Thread-safe; RPC threads call it. Everything that touches the driver runs on the controller's thread.

    Args:
        driver: the robot cell; `robots.drivers.configured` has laid the limits of station.yaml over its own.
        heartbeat_file: touched once a second while control thread and watchdog live.
        safety: the station's limits of what is measured, and accelerations; None: none.
        latch: keeps an e-stop over restarts.

    Raises:
        UsageError: limits of something that the station does not measure.
    """

    def __init__(
        self,
        driver: Driver,
        heartbeat_file: Path | None = None,
        *,
        safety: SafetyConfig | None = None,
        latch: Latch | None = None,
    ) -> None:
        self.driver = driver
        self.controller = Controller(driver, latch)
        self._safety_config = safety or SafetyConfig()
        if safety is not None:
            monitor = Monitor(safety, self.controller.rate_hz, driver.joint_states(), driver.observe())
            self.controller.monitor = None if monitor.idle else monitor
        self.leases = LeaseTable(on_lapse=self._lapse)
        self.started_s = time.monotonic()
        self._session: Session | None = None
        self._session_token = ""
        self._frames = 0
        self._heartbeat_file = heartbeat_file
        self._closing = threading.Event()
        self._watchdog = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._watched_s = time.monotonic()
        """When the watchdog turned last."""
        self.controller.timer = self._timer
        self.controller.on_time = self._on_time

    def start(self) -> None:
        """Start control thread, watchdog and heartbeat; an e-stop that held before holds again."""
        self.controller.relatch()
        self.controller.start()
        self._watched_s = time.monotonic()
        self._watchdog.start()
        if self._heartbeat_file is not None:
            threading.Thread(target=self._beat, args=(self._heartbeat_file,), name="heartbeat", daemon=True).start()

    def close(self) -> None:
        """Hold, then stop both threads."""
        self._closing.set()
        if self._session is not None:
            self._session.cancelled = True
        self.controller.stop()
        self._watchdog.join(timeout=2.0)
        close = getattr(self.driver, "close", None)
        if close is not None:
            close()

    @property
    def label(self) -> str:
        """Label of the open control stream; empty: none is open."""
        session = self._session
        return session.label if session is not None else ""

    def acquire(
        self, ticket: str, holder: str, asked: LimitsSpec, ttl_s: float, wait_s: float, alive: Callable[[], bool]
    ) -> Grant | None:
        """A lease within the intersection of both limits, or None after `wait_s`. Raises EstopError while latched."""
        self.controller.check_estop()
        spec = self.driver.spec()
        limits = intersect(spec.limits, asked, spec.actions)
        return self.leases.acquire(ticket, holder, limits, ttl_s, wait_s, alive)

    def release(self, token: str) -> None:
        """Give a lease back; an open control stream of it ends."""
        if self._session is not None and self._session_token == token:
            self.close_session(self._session)
        self.leases.release(token)

    def observe(self) -> Tick:
        """What the sensors say now."""
        tick: Tick = self.controller.call(lambda: self.controller.look({}, tick=False), quick=True)
        return tick

    def open_session(self, token: str, label: str) -> tuple[Session, Reply]:
        """Open the control stream; one at a time."""
        grant = self.leases.check(token)

        def begin() -> tuple[Session, Reply]:
            if self._session is not None:
                raise StationError(f"a control stream is open ({self._session.label!r}); one at a time")
            session = Session(self.controller, self._filter(grant.limits), label)
            reply = session.open()
            self._session, self._session_token = session, token
            return session, reply

        opened: tuple[Session, Reply] = self.controller.call(begin)
        return opened

    def close_session(self, session: Session) -> None:
        """End a stream at once: the present period is the last. Idempotent; does not wait."""
        if not session.cancelled:
            session.cancelled = True
            self.controller.wake()

        def finish() -> None:
            if self._session is session:
                self._session = None
                session.close()

        self.controller.post(finish)

    def run(self, session: Session, token: str, chunk: Sequence[Values] | None, film: bool) -> Reply:
        """Run a chunk, or hold for one period (None)."""
        self.leases.check(token)
        periods = 1 if chunk is None else len(chunk)
        wall_s = periods / (self.controller.rate_hz * (self.controller.speed or 1.0))
        reply: Reply = self.controller.call(lambda: _run(session, chunk, film), timeout_s=wall_s + 30.0)
        return reply

    def run_later(
        self,
        session: Session,
        token: str,
        chunk: Sequence[Values] | None,
        film: bool,
        done: Callable[[Reply | Exception], None],
    ) -> None:
        """The same without waiting; `done` takes the outcome, on the control thread."""
        self.leases.check(token)

        def work() -> None:
            try:
                outcome: Reply | Exception = _run(session, chunk, film)
            except Exception as error:
                outcome = error
            done(outcome)

        self.controller.post(work)

    def primitive(self, token: str, request: Primitive, alive: Callable[[], bool]) -> Tick:
        """Carry out a primitive to its end."""
        grant = self.leases.check(token)

        tick: Tick = self.controller.call(
            lambda: self._move(request, grant.limits, lambda: alive() and self.leases.held(token)),
            timeout_s=MOTION_TIMEOUT_S,
        )
        return tick

    def joint_states(self) -> Values:
        """Joint positions as the driver names them."""
        values: Values = self.controller.call(self.driver.joint_states, quick=True)
        return values

    def exclusive(self, what: str, function: Callable[[], None]) -> None:
        """Run something that moves the world by itself; refused while a control stream is open."""

        def work() -> None:
            if self._session is not None:
                raise StationError(f"{what}: a control stream is open ({self._session.label!r}); close it first")
            function()

        self.controller.call(work)

    def capture(self, camera: str) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None, Stamp]:
        """A lossless picture, uint8 [height, width, 3] RGB, its depth [height, width] m if any, and when it was taken."""
        controller, driver = self.controller, self.driver
        shot: tuple[NDArray[np.uint8], NDArray[np.float32] | None, Stamp] = controller.call(
            lambda: (driver.render(camera), driver.render_depth(camera), controller.clock.now()), quick=True
        )
        return shot

    def next_frame(self) -> int:
        """Counts camera frames."""
        self._frames += 1
        return self._frames

    def _filter(self, limits: LimitsSpec) -> SafetyFilter:
        spec = self.driver.spec()
        changes = step_changes(spec, self._safety_config)
        return SafetyFilter(limits, spec.actions, self.driver.hold_action(), changes)

    def _move(self, request: Primitive, limits: LimitsSpec, allowed: Callable[[], bool]) -> Tick:
        controller = self.controller
        controller.check_estop()
        if self._session is not None:
            raise StationError(f"{request.name}: a control stream is open ({self._session.label!r}); close it first")
        _check_request(request, limits)
        if controller.exceeded:
            controller.inspect()
            controller.check_estop()
        presses, freeing = controller.presses, request.name in FREEING and bool(controller.exceeded)
        if controller.exceeded and not freeing:
            only = "only `home` and `release` move the robot now"
            raise SafetyError(f"{request.name}: {controller.exceeded}: {only}; it holds")
        actions = self.driver.primitive(request)
        safety, executed = self._filter(limits), self.driver.hold_action()
        seen = controller.look({}, tick=False)
        controller.begin()
        try:
            for action in actions:
                if not allowed():
                    raise StationError(f"{request.name} was broken off: its caller is gone; the robot holds")
                if controller.presses != presses:
                    raise EstopError(f"{request.name} was broken off by the e-stop; the robot holds")
                if controller.monitor is not None and controller.monitor.beyond_soft and request.name != "home":
                    soft = controller.monitor.beyond_soft
                    raise SafetyError(f"{request.name}: {soft}: only `home` moves the robot now; it holds")
                safety.check_inward(action)
                executed, _ = safety.clamp(action)
                controller.period(executed, lambda: False)
                safety.ran(executed)
                seen = controller.look(executed, tick=True)
                freeing = freeing and bool(controller.exceeded)
                if controller.exceeded and not freeing:
                    controller.counters.protective_stops += 1
                    raise SafetyError(f"protective stop in {request.name}: {controller.exceeded}; the robot holds")
        finally:
            controller.end()
        return seen

    def _timer(self) -> float | None:
        return self._session.deadline() if self._session is not None else None

    def _on_time(self) -> None:
        if self._session is not None:
            self._session.late()

    def _lapse(self, grant: Grant) -> None:
        """The holder fell silent: hold at once, then go home unless somebody takes over."""
        session = self._session
        if session is not None and self._session_token == grant.token:
            self.close_session(session)
        self.controller.post(self._go_home)

    def _go_home(self) -> None:
        try:
            self._move(Primitive("home"), self.driver.spec().limits, lambda: not self.leases.holder)
        except NightlabError:
            return  # it holds; whoever leases it next resets it

    def _watch(self) -> None:
        while not self._closing.wait(WATCH_S):
            self._watched_s = time.monotonic()
            self.leases.expire()
            session = self._session
            if self.controller.estopped:
                self.controller.confirm_stop()
                if session is not None:
                    self.close_session(session)
            elif session is None:
                self.controller.look_when_idle()

    def _beat(self, file: Path) -> None:
        """In a thread of its own: a disk that stalls holds up nobody whom a robot waits for."""
        while not self._closing.is_set():
            if self.controller.alive and time.monotonic() - self._watched_s < STUCK_S:
                beat(file)
            self._closing.wait(PERIOD_S)


def _run(session: Session, chunk: Sequence[Values] | None, film: bool) -> Reply:
    session.check_estop()
    if session.cancelled:
        raise StationError("this control stream has ended; open a new one")
    return session.hold(film) if chunk is None else session.step(chunk, film)


def _check_request(request: Primitive, limits: LimitsSpec) -> None:
    """Raises SafetyError for a wrench or a grip above the lease's limits, or that is no number."""
    force_N = float(np.linalg.norm(request.wrench[:3])) if request.wrench else request.force_N
    moment_Nm = float(np.linalg.norm(request.wrench[3:])) if request.wrench else 0.0
    for what, asked, most, unit in (
        ("force", force_N, limits.max_force_N, "N"),
        ("torque", moment_Nm, limits.max_torque_Nm, "Nm"),
    ):
        if not np.isfinite(asked) or (most is not None and asked > most):
            raise SafetyError(f"{request.name} with {what} {asked:g} {unit}; allowed: {most} {unit}; the robot held")
