"""The insertion pipeline: approach, search, insert; lift and again. Nine slots say how, one module each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nightlab.skills.rotation import rotate
from policies.library.pin_insertion.kit import (
    DT_S,
    ENTRY_M,
    FULL_DEPTH_M,
    Approach,
    Array,
    Comply,
    Correct,
    Guard,
    Insert,
    Memory,
    Press,
    Reading,
    Recover,
    Search,
    Sense,
    View,
    step_towards,
)
from policies.library.recipe import make_modules

if TYPE_CHECKING:
    from nightlab.records import StationSpec

SLOTS: Final = ("sense", "approach", "correct", "search", "press", "comply", "insert", "guard", "recover")
MAX_STEP_M: Final = 0.007
"""Largest advance of the target per control period."""
LIFT_M: Final = 0.006
"""How far the tip is lifted off the plate before another attempt."""
PROGRESS_M: Final = 0.0003
STALL_TICKS: Final = 30
"""An insertion that has not gone deeper for so long was none: the search goes on."""
STILL_M: Final = 0.0005
PATIENCE_TICKS: Final = 110
"""A hand that has not left a ball of `STILL_M` for so long is stuck: the policy gives up, 5.5 s."""
REST_TICKS: Final = 10
"""Control periods at rest in full depth before the policy says done."""


class Pipeline:
    """A policy made of one module per slot. Implements `nightlab.contracts.Policy`.

    `modules` maps each slot to a module of the library (or an object with the same `make(params)`); `params` holds the
    knobs of all modules by name; a missing knob takes its module's default.
    """

    def __init__(self, modules: Mapping[str, ModuleType | Any], params: Mapping[str, float]) -> None:
        made = make_modules(SLOTS, modules, params)
        self.sense: Sense = made["sense"]
        self.approach: Approach = made["approach"]
        self.correct: Correct = made["correct"]
        self.search: Search = made["search"]
        self.press: Press = made["press"]
        self.comply: Comply = made["comply"]
        self.insert: Insert = made["insert"]
        self.guard: Guard = made["guard"]
        self.recover: Recover = made["recover"]
        self._low: dict[str, Array] = {}
        self._high: dict[str, Array] = {}
        self._begin(0)

    def reset(self, spec: StationSpec | None, seed: int) -> None:
        """Begin an episode. The bounds of the actions come from the station; without a station there are none."""
        if spec is not None:
            channels = {channel.key: channel for channel in spec.actions}
            low, high = spec.limits.action_low, spec.limits.action_high
            for key, channel in channels.items():
                self._low[key] = np.broadcast_to(np.asarray(low.get(key, channel.low), dtype=np.float64), channel.shape)
                self._high[key] = np.broadcast_to(
                    np.asarray(high.get(key, channel.high), dtype=np.float64), channel.shape
                )
        self._begin(seed)

    def _begin(self, seed: int) -> None:
        self.memory = Memory(np.random.default_rng([11, abs(int(seed))]))
        for part in (self.sense, self.approach, self.correct, self.search, self.press, self.insert, self.guard):
            part.reset()
        self.recover.reset()
        self._parked: dict[str, Array] | None = None
        self._goal: Array = np.zeros(3)
        self._rest = 0
        self._anchor: Array | None = None
        self._still = 0

    def close(self) -> None:
        """Nothing to release."""

    def act(self, observation: Mapping[str, Array]) -> Sequence[dict[str, Array]] | None:
        """One action of the right arm; all else stays parked. None when the pin is in, or when a module gives up."""
        reading = read(observation)
        memory = self.memory
        view = self.sense.look(reading, memory)
        if self._parked is None:
            self._park(observation, view)
        goal = None if self._stuck(reading.tcp[:3]) else self._tick(view)
        if goal is None:
            return None
        allowed = self.guard.allow(goal, view, memory)
        if allowed is None:
            return None
        self._goal = step_towards(self._goal, allowed, MAX_STEP_M)
        memory.tick += 1
        memory.phase_ticks += 1
        return [self._action(self._goal, view)]

    def _stuck(self, hand: Array) -> bool:
        """Whether the hand has stayed where it is for so long that it always will."""
        if self._anchor is None or float(np.linalg.norm(hand - self._anchor)) > STILL_M:
            self._anchor, self._still = hand.copy(), 0
        self._still += 1
        return self._still > PATIENCE_TICKS

    # Phases ------------------------------------------------------------------------------------------------------

    def _tick(self, view: View) -> Array | None:
        """Goal of the tip [3] m in this period; None: done."""
        memory = self.memory
        depth_m = self._progress(view)
        if depth_m >= FULL_DEPTH_M and memory.phase == "insert":
            self._rest += 1
            return None if self._rest > REST_TICKS else self._goal
        if memory.phase == "lift":
            if memory.phase_ticks * DT_S < 1.0:
                return np.array([view.tip[0], view.tip[1], view.hole[2] + LIFT_M])
            self._enter("approach")
        if memory.phase == "approach":
            return self._approach(view)
        if memory.phase == "search":
            return self._search(view, depth_m)
        verdict = self.recover.verdict(view, memory, searched=False)
        if verdict != "go":
            return self._leave(view, verdict)
        if memory.idle_ticks > STALL_TICKS and depth_m < 3 * ENTRY_M:
            self._enter("search")
            return self._search(view, depth_m)
        return self.insert.way(view, memory)

    def _approach(self, view: View) -> Array | None:
        memory = self.memory
        goal, arrived = self.approach.way(view, memory)
        if view.touching and math.isnan(memory.plate_z) and view.tip[2] < view.hole[2] + LIFT_M / 2:
            memory.plate_z = float(view.tip[2])
        if not arrived:
            return goal
        self._enter("search")
        if not memory.attempts:
            memory.centre = view.hole[:2].copy()
        self.search.reset()
        self.press.reset()
        return self._search(view, memory.depth_m(view))

    def _search(self, view: View, depth_m: float) -> Array | None:
        memory = self.memory
        if view.touching and math.isnan(memory.plate_z):
            memory.plate_z = float(view.tip[2])
        if depth_m > ENTRY_M:
            memory.entry = view.tip[:2].copy()
            self._enter("insert")
            self.insert.reset()
            return self.insert.way(view, memory)
        offset = self.search.step(view, memory)
        verdict = self.recover.verdict(view, memory, searched=offset is None)
        if verdict != "go":
            return self._leave(view, verdict)
        height = self.press.height(view, memory)
        if offset is None:
            return np.array([*memory.centre, height])
        x, y = memory.centre + np.array([offset.x_m, offset.y_m])
        surface = view.hole[2] if math.isnan(memory.plate_z) else memory.plate_z
        return np.array([x, y, surface + offset.lift_m if offset.lift_m > 0 else height])

    def _leave(self, view: View, verdict: str) -> Array | None:
        if verdict == "done":
            return None
        memory = self.memory
        memory.attempts += 1
        memory.plate_z = math.nan
        self.approach.reset()
        self._enter("lift")
        return np.array([view.tip[0], view.tip[1], view.hole[2] + LIFT_M])

    def _enter(self, phase: str) -> None:
        memory = self.memory
        memory.phase, memory.phase_ticks, memory.deepest_m, memory.idle_ticks = phase, 0, -1.0, 0

    def _progress(self, view: View) -> float:
        memory = self.memory
        depth_m = memory.depth_m(view)
        if depth_m > memory.deepest_m + PROGRESS_M:
            memory.deepest_m, memory.idle_ticks = depth_m, 0
        else:
            memory.idle_ticks += 1
        return depth_m

    # Actions -----------------------------------------------------------------------------------------------------

    def _park(self, observation: Mapping[str, Array], view: View) -> None:
        """What never changes: the left arm and both grippers stay as they are found; the tool points down."""
        yaw = float(observation["right_tcp"][5])
        self._parked = {
            "left_pose": np.array(observation["left_tcp"], dtype=np.float64),
            "left_width": np.array(observation["left_gripper"][:1], dtype=np.float64),
            "right_width": np.zeros(1),
            "left_stiffness": np.array([1000.0, 30.0]),
        }
        self._rotation = np.array([0.0, 0.0, yaw])
        self._goal = view.tip.copy()

    def _action(self, goal: Array, view: View) -> dict[str, Array]:
        assert self._parked is not None
        linear, angular = self.comply.stiffness(self.memory)
        self.memory.stiffness_N_per_m = linear
        tcp = view.reading.tcp
        local = rotate(-tcp[3:], view.tip - tcp[:3])
        wanted = goal - rotate(self._rotation, local)
        position = wanted + self.correct.add(wanted, view, self.memory)
        action = {
            **self._parked,
            "right_pose": np.concatenate((position, self._rotation)),
            "right_stiffness": np.array([linear, angular]),
        }
        return {key: self._bounded(key, value) for key, value in action.items()}

    def _bounded(self, key: str, value: Array) -> Array:
        if key not in self._low:
            return value
        bounded: Array = np.minimum(np.maximum(value, self._low[key]), self._high[key])
        return bounded


def read(observation: Mapping[str, Array]) -> Reading:
    """The right arm's part of an observation."""
    wrench = np.asarray(observation["right_wrench"], dtype=np.float64)
    return Reading(
        tcp=np.asarray(observation["right_tcp"], dtype=np.float64),
        force=wrench[:3],
        torque=wrench[3:],
        peak_N=float(observation["peak_force"][1]),
        hole=np.asarray(observation["hole_estimate"], dtype=np.float64),
        pin=np.asarray(observation["pin_estimate"], dtype=np.float64),
    )
