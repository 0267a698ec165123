"""What the pin-insertion modules share: the view of the scene, the memory of an episode, and the slots' interfaces.

Frame `table`: x from the left arm to the right one, y away from the bases, z up; metres, radians, newtons. A TCP pose is
x, y, z and a rotation vector relative to "gripper pointing straight down, jaws along x".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Params = Mapping[str, float]

DT_S: Final = 0.05
"""Control period of the station (20 Hz)."""
PIN_LENGTH_M: Final = 0.045
"""Nominal distance from the TCP to the tip of a pin that is gripped as it should be."""
CONTACT_N: Final = 2.0
"""Push of the plate on the tip from which on it counts as touching."""
ENTRY_M: Final = 0.0012
"""How far below the plate the tip must be to count as inside a hole."""
FULL_DEPTH_M: Final = 0.018
"""Depth at which the pin is let be; success asks for 15 mm."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One observation of the right arm, as the station gives it."""

    tcp: Array
    """[6] m, rad."""
    force: Array
    """[3] N, push of the surroundings on the gripper, table frame, tared at reset."""
    torque: Array
    """[3] Nm."""
    peak_N: float
    """Largest |force| since the observation before."""
    hole: Array
    """[3] m, estimate of the mouth of the target hole."""
    pin: Array
    """[6] m, rad: estimate of the tip's position and the pin's rotation."""


@dataclass(frozen=True, slots=True)
class View:
    """What the policy believes at this tick."""

    reading: Reading
    tip: Array
    """[3] m, believed place of the pin's tip."""
    hole: Array
    """[3] m, believed mouth of the hole."""

    @property
    def load_N(self) -> float:
        """Size of the force on the wrist."""
        return float(np.linalg.norm(self.reading.force))

    @property
    def touching(self) -> bool:
        """Whether the plate pushes the tip up."""
        return bool(self.reading.force[2] > CONTACT_N)


@dataclass(slots=True)
class Memory:
    """What the pipeline remembers within an episode; modules read it and may write where it says so."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    tick: int = 0
    phase: str = "approach"
    """`approach`, `search`, `insert` or `lift`."""
    phase_ticks: int = 0
    attempts: int = 0
    """Searches given up so far."""
    centre: Array = field(default_factory=lambda: np.zeros(2))
    """[2] m: around which the search goes; `recover` may move it."""
    plate_z: float = math.nan
    """Height of the tip at the first touch of this attempt, m; NaN before it."""
    entry: Array = field(default_factory=lambda: np.zeros(2))
    """[2] m: where the tip went in."""
    deepest_m: float = 0.0
    """Largest depth in this phase."""
    idle_ticks: int = 0
    """Ticks since the depth last grew."""
    stiffness_N_per_m: float = 1000.0
    """Translational stiffness commanded now."""

    def depth_m(self, view: View) -> float:
        """How far the tip is below the plate, by the first touch or else by the estimate of the mouth."""
        surface = view.hole[2] if math.isnan(self.plate_z) else self.plate_z
        return float(surface - view.tip[2])


@dataclass(frozen=True, slots=True)
class Offset:
    """Where a search pattern wants the tip: metres from the centre, and height above the pressed state."""

    x_m: float
    y_m: float
    lift_m: float = 0.0


class Sense(Protocol):
    """Slot `sense`: from readings to a view."""

    def reset(self) -> None: ...
    def look(self, reading: Reading, memory: Memory) -> View: ...


class Approach(Protocol):
    """Slot `approach`: where the tip shall go until it touches; and whether the search shall begin."""

    def reset(self) -> None: ...
    def way(self, view: View, memory: Memory) -> tuple[Array, bool]:
        """Goal of the tip [3] m, arrived."""
        ...


class Correct(Protocol):
    """Slot `correct`: what to add to a TCP target so that the arm really gets there."""

    def reset(self) -> None: ...
    def add(self, goal: Array, view: View, memory: Memory) -> Array:
        """Correction [3] m of the commanded position, given the wanted TCP position [3] m."""
        ...


class Search(Protocol):
    """Slot `search`: a pattern over the plate; None when it is over."""

    def reset(self) -> None: ...
    def step(self, view: View, memory: Memory) -> Offset | None: ...


class Press(Protocol):
    """Slot `press`: height of the tip's goal while searching, m."""

    def reset(self) -> None: ...
    def height(self, view: View, memory: Memory) -> float: ...


class Comply(Protocol):
    """Slot `comply`: stiffness of the arm, N/m and Nm/rad."""

    def stiffness(self, memory: Memory) -> tuple[float, float]: ...


class Insert(Protocol):
    """Slot `insert`: goal of the tip [3] m once it is inside."""

    def reset(self) -> None: ...
    def way(self, view: View, memory: Memory) -> Array: ...


class Guard(Protocol):
    """Slot `guard`: what to do about large forces."""

    def reset(self) -> None: ...
    def allow(self, goal: Array, view: View, memory: Memory) -> Array | None:
        """The tip's goal [3] m, changed where the force asks for it; None gives the episode up."""
        ...


class Recover(Protocol):
    """Slot `recover`: what to do when nothing goes on. `go`, `lift` (and approach anew) or `done` (give up)."""

    def reset(self) -> None: ...
    def verdict(self, view: View, memory: Memory, *, searched: bool) -> str: ...


def step_towards(start: Array, goal: Array, step_m: float) -> Array:
    """The point at most `step_m` from `start` towards `goal`."""
    way = goal - start
    length = float(np.linalg.norm(way))
    return goal.copy() if length <= step_m else start + way * (step_m / length)


def surface_m(view: View, memory: Memory) -> float:
    """Height of the plate: of the first touch, else of the estimated mouth."""
    return float(view.hole[2]) if math.isnan(memory.plate_z) else memory.plate_z
