"""What a station is, can observe, can do, and is allowed to do."""

from __future__ import annotations

from nightlab.records.base import Record


class Channel(Record):
    """One observation or action key."""

    key: str
    shape: tuple[int, ...]
    dtype: str = "float64"
    unit: str
    """Unit per element, comma-separated where they differ, e.g. `px,px,rad`."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    description: str = ""
    names: tuple[str, ...] = ()
    """Name of each element, as LeRobot has it, e.g. `shoulder_pan.pos`; empty: they have none."""


class Intrinsics(Record):
    """A pinhole camera's own numbers, of the picture as it is delivered."""

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    model: str = ""
    """Name of the distortion model; empty: none."""
    coefficients: tuple[float, ...] = ()


class CameraSpec(Record):
    """One camera."""

    key: str
    width_px: int
    height_px: int
    channels: int = 3
    depth: bool = False
    description: str = ""
    serial: str = ""
    """Serial number of the device; empty: unknown, or simulated."""
    intrinsics: Intrinsics | None = None
    """Of the colour picture, and of the depth aligned to it; None: not known."""


class LimitsSpec(Record):
    """Safety limits. The station's and the environment's are intersected; researchers may only narrow them."""

    action_low: dict[str, tuple[float, ...]]
    action_high: dict[str, tuple[float, ...]]
    max_step: dict[str, tuple[float, ...]] = {}
    """Largest change of an action between two control periods, in the action's unit. A larger one is clamped, flagged."""
    late_periods: int = 3
    """Control periods without an action after which the robot holds and the control stream ends."""
    max_force_N: float | None = None
    max_torque_Nm: float | None = None


class Compute(Record):
    """What the station's workstation offers to policies and trainers."""

    cpus: int = 1
    memory_mib: int = 2048
    gpu: str | None = None


class StationSpec(Record):
    """The answer of `describe()`."""

    station_id: str
    kind: str
    """Stations of one kind can stand in for one another."""
    rate_hz: float
    speed: float
    """Declared station seconds per wall second; 1 for real robots; 0 means as fast as possible (`max`)."""
    simulated: bool
    profile: str | None = None
    observations: tuple[Channel, ...]
    actions: tuple[Channel, ...]
    """Impedance control adds the keys `stiffness_N_per_m` and `damping_Ns_per_m` beside the pose action."""
    cameras: tuple[CameraSpec, ...] = ()
    limits: LimitsSpec
    compute: Compute = Compute()


class StepFlags(Record):
    """What the safety filter did with the latest action."""

    late: bool = False
    clamped: bool = False
    refused: bool = False
    reason: str = ""
