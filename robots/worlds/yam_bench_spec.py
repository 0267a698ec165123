"""What a bench observes, takes and allows: the `StationSpec` of kind `yam_bimanual`."""

from __future__ import annotations

from typing import Final

from nightlab import pin_box as box
from nightlab.records import CameraSpec, Channel, LimitsSpec, StationSpec

RATE_HZ: Final = 20.0
MAX_STEP: Final = (0.008, 0.008, 0.008, 0.1, 0.1, 0.1)
"""Most that a pose target moves in one control period, m and rad."""
POSE_LOW: Final = (-0.30, -0.16, 0.012, -2.2, -2.2, -2.2)
POSE_HIGH: Final = (0.30, 0.18, 0.32, 2.2, 2.2, 2.2)
OPEN_m: Final = 0.07
JAWS_N_per_m: Final = 6000.0
"""Gain of the jaws' servo, up to the cap on the grip force."""
HOME_POSE: Final = {"left": (-0.22, 0.02, 0.22, 0.0, 0.0, 0.0), "right": (0.22, 0.02, 0.22, 0.0, 0.0, 0.0)}
"""Where `home` brings the TCPs: over the table's sides, out of the cameras' sight."""
STIFFNESS_LOW: Final = (50.0, 1.0)
STIFFNESS_HIGH: Final = (2000.0, 60.0)
STIFFNESS: Final = (1000.0, 30.0)
"""Stiffness after a reset, N/m and Nm/rad."""
MAX_FORCE_N: Final = 40.0
STOP_FORCE_N: Final = 60.0
"""Above this at a wrist the station stops for STOP_PERIODS control periods where it is, and goes on from there."""
STOP_PERIODS: Final = 10
CAMERA_KEYS: Final = ("top", "side", "wrist")
POSE_UNIT: Final = "m,m,m,rad,rad,rad"


def _channels() -> tuple[tuple[Channel, ...], tuple[Channel, ...]]:
    seen: list[Channel] = []
    acts: list[Channel] = []

    def sense(key: str, unit: str, bound: tuple[float, ...], text: str, low: tuple[float, ...] | None = None) -> None:
        least = tuple(-value for value in bound) if low is None else low
        seen.append(Channel(key=key, shape=(len(bound),), unit=unit, low=least, high=bound, description=text))

    def act(key: str, unit: str, low: tuple[float, ...], high: tuple[float, ...], text: str) -> None:
        acts.append(Channel(key=key, shape=(len(low),), unit=unit, low=low, high=high, description=text))

    for arm in ("left", "right"):
        sense(f"{arm}_q", "rad" + ",rad" * 5, (3.15,) * 6, f"joint angles of the {arm} arm")
        sense(f"{arm}_qd", "rad/s" + ",rad/s" * 5, (20.0,) * 6, f"joint speeds of the {arm} arm")
        sense(
            f"{arm}_tcp",
            POSE_UNIT,
            (1.0, 1.0, 1.0, 3.15, 3.15, 3.15),
            f"pose of the {arm} TCP from the joint encoders, table frame, rotation relative to tool-down",
        )
        sense(f"{arm}_gripper", "m,N", (OPEN_m + 0.01, 40.0), "jaw opening, grip force", (-0.01, -40.0))
        sense(
            f"{arm}_wrench",
            "N,N,N,Nm,Nm,Nm",
            (500.0,) * 3 + (100.0,) * 3,
            f"what the world does to the {arm} gripper, at the wrist, in table axes, tared at reset",
        )
    sense(
        "peak_force",
        "N,N",
        (2000.0, 2000.0),
        "largest force at the left and right wrist since the last observation",
        (0.0, 0.0),
    )
    sense(
        "hole_estimate", "m,m,m", (1.0, 1.0, 1.0), "vision estimate of the target hole's mouth, drawn once per episode"
    )
    sense(
        "pin_estimate",
        POSE_UNIT,
        (1.0, 1.0, 1.0, 3.15, 3.15, 3.15),
        "estimated pose of the pin in the right gripper: its tip, and its rotation from upright",
    )
    sense("target_hole", "", (3.0,), "index of the target hole", (0.0,))
    for arm in ("left", "right"):
        act(f"{arm}_pose", POSE_UNIT, POSE_LOW, POSE_HIGH, f"target of the {arm} TCP")
        act(f"{arm}_width", "m", (0.0,), (OPEN_m,), f"target opening of the {arm} jaws")
        act(f"{arm}_stiffness", "N/m,Nm/rad", STIFFNESS_LOW, STIFFNESS_HIGH, "Cartesian impedance about the TCP")
    return tuple(seen), tuple(acts)  # fmt: skip


OBSERVATIONS, ACTIONS = _channels()


def bench_spec(station_id: str, speed: float, profile: str) -> StationSpec:
    """The answer of `describe()` of a bench."""
    width, height = box.IMAGE_PX
    texts = {"top": "looks straight down on the plate", "side": "looks at the plate from beyond it, a little from above",
             "wrist": "on the right hand, looks along the fingers"}  # fmt: skip
    return StationSpec(
        station_id=station_id,
        kind="yam_bimanual",
        rate_hz=RATE_HZ,
        speed=speed,
        simulated=True,
        profile=profile,
        observations=OBSERVATIONS,
        actions=ACTIONS,
        cameras=tuple(
            CameraSpec(key=key, width_px=width, height_px=height, depth=True, description=text)
            for key, text in texts.items()
        ),
        limits=LimitsSpec(
            action_low={channel.key: channel.low for channel in ACTIONS},
            action_high={channel.key: channel.high for channel in ACTIONS},
            max_step={"left_pose": MAX_STEP, "right_pose": MAX_STEP},
            max_force_N=MAX_FORCE_N,
        ),
    )
