"""The server's half of a control stream: actions in, observations out, and what happens when none comes.

An action is late when it does not arrive within one *real-time* control period (1 / rate_hz wall seconds, or the
station's own period where that is longer) of the observation it answers: the robot holds for that period, and the
action that belonged to it is dropped when it comes. After `late_periods` of them in a row the stream stops: every
further step is a SafetyError, only `hold` runs on. Whoever holds is not late: time runs again from the first step.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nightlab.contracts import Values
from nightlab.errors import EstopError, NightlabError, SafetyError, StationError
from nightlab.records import StepFlags
from robots.controller import Controller
from robots.safety import SafetyFilter
from robots.tick import Tick

_HELD: Final = StepFlags(late=True, reason="no action in time: held")
_CLAMPED: Final = StepFlags(clamped=True, reason="step larger than the limit: shortened")


@dataclass(slots=True)
class Reply:
    """What a request on the stream came to."""

    observations: list[Tick] = field(default_factory=list)
    pictures: list[NDArray[np.uint8] | None] = field(default_factory=list)
    periods: int = 0
    late: int = 0
    clamped: int = 0
    waited_s: float | None = None
    """From the end of the previous answer to the arrival of this request on the control thread; None: nothing before."""
    error_kind: str = ""
    """As in `robots.wire.KINDS`; empty: no error."""
    error: str = ""


class Session:
    """One open control stream. All methods but `cancel` run on the control thread."""

    def __init__(self, controller: Controller, safety: SafetyFilter, label: str) -> None:
        self.label = label
        self.cancelled = False
        self._controller = controller
        self._presses = controller.presses
        self._safety = safety
        self._deadline_s = max(1.0 / controller.rate_hz, 1.0 / (controller.rate_hz * (controller.speed or 1e9)))
        self._expected: float | None = None
        """Instant by which the next action must be here; None while holding."""
        self._held: list[Tick] = []
        """Observations of the late periods since the last reply."""
        self._late_in_a_row = 0
        self._stopped = ""
        self._begin_wall = self._begin_station = 0.0
        self._answered: float | None = None
        """When the last answer left the control thread."""
        self._lost = 0
        """Periods that ran in a request that ended in an error."""

    def open(self) -> Reply:
        """Begin: the observation before the first action."""
        controller = self._controller
        controller.check_estop()
        controller.begin()
        controller.counters.streams += 1
        first = controller.look({}, tick=False)
        self._begin_wall, self._begin_station = first.stamp
        self._answered = time.monotonic()
        return Reply([first], [None])

    def close(self) -> None:
        """End: the robot holds."""
        self.cancelled = True
        now = self._controller.clock.now()
        self._controller.end()
        self._controller.counters.control_wall_s += now.wall_s - self._begin_wall
        self._controller.counters.control_station_s += now.station_s - self._begin_station

    def deadline(self) -> float | None:
        """When `late` is due (monotonic seconds)."""
        return None if self.cancelled else self._expected

    def late(self) -> None:
        """No action came in time: hold for one period."""
        controller = self._controller
        held = controller.driver.hold_action()
        try:
            self._run(held)
            self._held.append(controller.look(held, _HELD, tick=True))
        except StationError:
            self._expected = None
            return
        controller.counters.late += 1
        self._late_in_a_row += 1
        if self._late_in_a_row >= self._safety.limits.late_periods:
            self._stopped = (
                f"{self._late_in_a_row} control periods without an action ({self._deadline_s:g} s each): the robot "
                "held and the stream stopped; only hold() goes on"
            )
            self._expected = None
        else:
            self._expected = time.monotonic() + self._deadline_s

    def hold(self, film: bool) -> Reply:
        """One period with the present target."""
        reply = self._take_held(0)
        reply.waited_s = self._waited()
        self._late_in_a_row = 0
        action = self._controller.driver.hold_action()
        self._run(action)
        self._add(reply, action, None, film)
        self._expected = None
        self._answered = time.monotonic()
        return reply

    def step(self, chunk: Sequence[Values], film: bool) -> Reply:
        """Check the whole chunk, then run it.

        Raises:
            SafetyError: an action was refused, or the stream stopped: late actions, or a limit that was measured to be
                passed (protective stop). The robot holds.
            StationError: e-stop or fault.
        """
        waited_s = self._waited()
        self.check_estop()
        if self._stopped:
            raise SafetyError(self._stopped)
        try:
            self._safety.check(chunk)
            self._check_measured()
        except Exception as error:
            self._controller.counters.refused += 1
            self._expected = None
            raise (
                error
                if isinstance(error, NightlabError)
                else SafetyError(f"the safety filter failed ({type(error).__name__}: {error}); the robot held")
            ) from error
        self._expected = None
        reply = self._take_held(len(chunk))
        reply.waited_s = waited_s
        for action in chunk[len(reply.observations) :]:
            if self.cancelled:
                break
            if reply.periods > reply.late:
                self._check_soft(reply)
            executed, clamped = self._safety.clamp(action)
            self._run(executed)
            reply.clamped += clamped
            self._controller.counters.clamped += clamped
            self._add(reply, executed, _CLAMPED if clamped else None, film)
            self._late_in_a_row = 0
            if self._controller.exceeded:
                self._protect(reply)
        self._answered = time.monotonic()
        self._expected = self._answered + self._deadline_s
        return reply

    def refused(self) -> Reply:
        """What ran since the last reply, after an error: goes with the refusal."""
        reply = self._take_held(0)
        reply.periods += self._lost
        self._lost = 0
        self._answered = None
        return reply

    def _protect(self, reply: Reply) -> None:
        """A limit was measured to be passed: the rest of the chunk does not run."""
        self._controller.counters.protective_stops += 1
        self._lost += reply.periods
        self._stopped = (
            f"protective stop: {self._controller.exceeded}; the robot holds and the stream stopped; only hold() goes on"
        )
        raise SafetyError(self._stopped)

    def check_estop(self) -> None:
        """Raises EstopError while the e-stop holds, and after it: what this stream knows of the robot is old then."""
        self._controller.check_estop()
        if self._controller.presses != self._presses:
            raise EstopError("the e-stop was pressed and cleared since this control stream began; open a new one")

    def _check_measured(self) -> None:
        """Beyond a measured limit only `home` and `release` move the robot."""
        if self._controller.exceeded:
            self._controller.inspect()
            self.check_estop()
        if self._controller.exceeded:
            raise SafetyError(f"{self._controller.exceeded}: only `home` and `release` move the robot now; it held")
        self._check_soft(Reply())

    def _check_soft(self, reply: Reply) -> None:
        monitor = self._controller.monitor
        if monitor is not None and monitor.beyond_soft:
            self._lost += reply.periods
            raise SafetyError(f"{monitor.beyond_soft}: only `home` moves the robot now; it held")

    def _waited(self) -> float | None:
        return None if self._answered is None else time.monotonic() - self._answered

    def _take_held(self, keep: int) -> Reply:
        """A reply that begins with the newest `keep` late periods."""
        held, self._held = self._held, []
        kept = held[-keep:] if keep else []
        return Reply(kept, [None] * len(kept), periods=len(held), late=len(held))

    def _run(self, action: Values) -> None:
        self.check_estop()
        self._controller.period(action, lambda: self.cancelled)
        self._safety.ran(action)

    def _add(self, reply: Reply, action: Values, flags: StepFlags | None, film: bool) -> None:
        reply.observations.append(self._controller.look(action, flags, tick=True))
        reply.pictures.append(self._controller.film() if film else None)
        reply.periods += 1
