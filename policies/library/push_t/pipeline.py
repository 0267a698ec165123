"""The pushing pipeline: plan, approach, look, push, settle, again. Seven slots say how, one module each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from nightlab import geometry as g
from policies.library.push_t.kit import (
    Choose,
    Drive,
    Endgame,
    Memory,
    Pause,
    Point,
    Pose,
    Push,
    Recover,
    Route,
    Sense,
    View,
    advance,
    distance,
    pose_error,
)
from policies.library.recipe import make_modules

if TYPE_CHECKING:
    from nightlab.records import StationSpec

SLOTS: Final = ("sense", "choose", "route", "drive", "endgame", "pause", "recover")
MAX_STEP_PX: Final = 80.0
MOVED_PX: Final = 0.3
PROGRESS_PX: Final = 1.0
FITS: Final = 0.95
"""Coverage at which a policy never gives up."""
PATIENCE_STEPS: Final = 100.0
"""Default of the knob `patience_steps`: after so many ticks without progress the policy says done."""
PHASE_LIMIT_STEPS: Final = 60
"""An approach or a push that takes longer is given up and planned anew."""


class Pipeline:
    """A policy made of one module per slot. Implements `nightlab.contracts.Policy`.

    `modules` maps each slot to a module of the library (or an object with the same `make(params)`); `params` holds the
    knobs of all modules by name; a missing knob takes its module's default.
    """

    def __init__(self, modules: Mapping[str, ModuleType | Any], params: Mapping[str, float]) -> None:
        made = make_modules(SLOTS, modules, params)
        self.sense: Sense = made["sense"]
        self.choose: Choose = made["choose"]
        self.route: Route = made["route"]
        self.drive: Drive = made["drive"]
        self.endgame: Endgame = made["endgame"]
        self.pause: Pause = made["pause"]
        self.recover: Recover = made["recover"]
        self._patience_steps = params.get("patience_steps", PATIENCE_STEPS)
        self._begin(0)

    def reset(self, spec: StationSpec, seed: int) -> None:
        self._begin(seed)

    def _begin(self, seed: int) -> None:
        self.memory = Memory(np.random.default_rng([7, abs(int(seed))]))
        self.sense.reset()
        self._phase, self._left, self._ticks = "plan", 0, 0
        self._push: Push | None = None
        self._last: Point | None = None
        self._planned_at: Pose | None = None
        self._best_px, self._idle = math.inf, 0

    def close(self) -> None:
        """Nothing to release."""

    def act(self, observation: Mapping[str, NDArray[np.float64]]) -> Sequence[dict[str, NDArray[np.float64]]] | None:
        """One action: `target_xy` [2] px; None when the endgame says done."""
        ax, ay = observation["agent_xy"]
        bx, by, angle = observation["block_pose"]
        touching = self._phase in ("push", "settle")
        view = self.sense.look((float(ax), float(ay)), (float(bx), float(by), float(angle)), touching=touching)
        if self._last is None:
            self._last = view.agent
        verdict = self.endgame.verdict(view)
        if verdict == "done" or self._hopeless(view):
            return None
        if verdict == "hold":
            if self._phase in ("approach", "push"):
                self._last = view.agent
            self._phase = "plan"
            target = self._last
        else:
            target = self._tick(view)
        self._last = _inside(advance(self._last, target, MAX_STEP_PX))
        return [{"target_xy": np.array(self._last)}]

    def _hopeless(self, view: View) -> bool:
        """Whether the pose error has not fallen below its best for too long, and the T does not fit already."""
        error = pose_error(view.pose)
        if error < self._best_px - PROGRESS_PX:
            self._best_px, self._idle = error, 0
            return False
        self._idle += 1
        return self._idle > self._patience_steps and g.coverage(view.pose) < FITS

    def _tick(self, view: View) -> Point:
        last = self._last or view.agent
        self._ticks += 1
        if self._phase == "settle":
            self._left -= 1
            if self._left >= 0:
                return last
            self._phase = "plan"
        if self._phase == "plan" and not self._plan(view):
            return last
        if self._phase == "approach":
            target, arrived = self.drive.follow(view, last)
            if self._ticks > PHASE_LIMIT_STEPS:
                self._enter("plan")
                return last
            if not arrived:
                return _inside(target)
            self._left = self.pause.before_push(view)
            self._enter("look" if self._left > 0 else "push")
        if self._phase == "look":
            self._left -= 1
            if self._left >= 0:
                return last
            if not self._aim(view):
                self._enter("plan")
                return last
            self._enter("push")
        push = self._push
        assert push is not None
        target, over = self.drive.push(view, push, last, self.endgame.grid(view).push_step_px)
        if over or self._ticks > PHASE_LIMIT_STEPS:
            self._left = self.pause.after_push(view)
            self._enter("settle")
        return target

    def _enter(self, phase: str) -> None:
        self._phase, self._ticks = phase, 0

    def _plan(self, view: View) -> bool:
        """Choose a push and a way to it; False when there is none (the pusher holds)."""
        memory = self.memory
        before = self._planned_at
        self._planned_at = view.pose
        moved = before is None or _pose_distance(before, view.pose) > MOVED_PX
        memory.stalled = 0 if moved else memory.stalled + 1
        memory.plans += 1
        grid = self.endgame.grid(view)
        for push in self.recover.revise(view, self.choose.propose(view, grid), grid, memory)[:12]:
            path = self.route.path(view, push.start)
            if path:
                self._push = push
                self.drive.begin(path)
                self._enter("approach")
                return True
        return False

    def _aim(self, view: View) -> bool:
        """Choose again among the pushes that start where the pusher stands."""
        for push in self.choose.propose(view, self.endgame.grid(view)):
            if distance(push.start, view.agent) < 8.0:
                self._push = push
                return True
        return False


def _pose_distance(a: Pose, b: Pose) -> float:
    return math.hypot(a[0] - b[0], a[1] - b[1]) + 60.0 * abs(g.wrap_angle(a[2] - b[2]))


def _inside(point: Point) -> Point:
    return min(max(point[0], 0.0), g.TABLE_PX), min(max(point[1], 0.0), g.TABLE_PX)
