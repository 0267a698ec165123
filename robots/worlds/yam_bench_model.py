"""MJCF of the bench: two YAM-like arms with grippers, a pin box, pins, cameras. Written from primitives, no files.

What touches what is decided by bits (see BITS), so that only cheap analytic collisions run: the pin's shaft is a
capsule against boxes, its blunt end a cylinder against the small spheres that round the holes' rims, its head a box
against the spheres of the finger pads. All bodies of the arms are gravity-compensated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nightlab import pin_box as box

ARMS: Final = ("left", "right")
BASE_XY_m: Final = {"left": (-0.22, -0.22), "right": (0.22, -0.22)}
SHOULDER_m: Final = 0.16
UPPER_m: Final = 0.264
FOREARM_m: Final = 0.245
WRIST_m: Final = (0.06, 0.05, 0.10)
"""From joint 4 to 5, 5 to 6, 6 to the TCP."""
JOINT_RANGE_rad: Final = ((-2.0, 2.0), (-1.5, 1.6), (0.2, 2.75), (-1.2, 2.8), (-1.75, 1.75), (-3.1, 3.1))
FINGER_m: Final = 0.035
"""Stroke of one finger; the jaws open twice as far."""
RIM_ROUND_m: Final = 0.0002
"""Rounding of the holes' rims."""
RIM_SPHERES: Final = 16
RING_BOXES: Final = 16
DT_s: Final = 0.002

PAD: Final = {"priority": 1, "solimp": "0.97 0.995 0.0005", "friction": "1.0 0.005 0.0001"}
"""Contact of the pads. With impratio 100 a gripped pin creeps 0.2 mm in 10 s under 6 N, where the defaults creep 2.8 mm.
Harder pads (0.998 0.9999) creep less, but now and then one loses touch for a step and the pin is thrown: in 3 of 20
handovers, at up to 27 m/s."""

BITS: Final = {"hand": 1, "pad": 2, "shaft": 4, "end": 8, "head": 16, "grip": 32, "pin": 64}
"""hand: grippers on table and plate. pad: pad spheres on heads. shaft: shafts on everything fixed. end: blunt ends on
rims. head: heads on everything fixed. grip: pad boxes on shafts. pin: pins on pins."""
FIXED: Final = BITS["hand"] | BITS["shaft"] | BITS["head"]

CHIPS_m: Final = (0.0013, 0.0013, 0.012)
"""Half sides of what can lie in a hole so that a pin stands less deep; below the table unless it is asked for."""
HAND_KG: Final = 0.45
FINGER_KG: Final = 0.04


@dataclass(frozen=True, slots=True)
class Layout:
    """What differs between compiled benches."""

    plate_x_m: float = 0.0
    plate_y_m: float = 0.0
    plate_yaw_rad: float = 0.0
    pins: int = 1


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def _geom(kind: str, size: Sequence[float], pos: Sequence[float], rgba: str, **more: object) -> str:
    extra = "".join(f' {key}="{value}"' for key, value in more.items())
    return f'<geom type="{kind}" size="{_numbers(size)}" pos="{_numbers(pos)}" rgba="{rgba}"{extra}/>\n'


def _fixed(size: Sequence[float], pos: Sequence[float], rgba: str, **more: object) -> str:
    return _geom("box", size, pos, rgba, contype=FIXED, conaffinity=FIXED, **more)


def bench_xml(layout: Layout) -> str:
    """The whole scene as MJCF text; lengths in metres, table frame."""
    pins = "".join(_pin(number) for number in range(layout.pins))
    arms = "".join(_arm(arm) for arm in ARMS)
    rack = _rack() if layout.pins > 1 else ""
    return f"""<mujoco model="yam_bench">
<compiler angle="radian" autolimits="true"/>
<option timestep="{DT_s}" integrator="implicitfast" cone="elliptic" impratio="100" gravity="0 0 -9.81"/>
<size memory="8M"/>
<visual><global offwidth="640" offheight="480"/><quality shadowsize="0" offsamples="4"/>
<map znear="0.02" zfar="4"/><headlight active="0"/></visual>
<default>
<geom solref="0.004 1" solimp="0.95 0.99 0.001" condim="3" contype="0" conaffinity="0" group="1"/>
<joint damping="0.2" armature="0.02"/>
<default class="wrist"><joint damping="0.05" armature="0.005"/></default>
<default class="finger"><joint damping="5" armature="0.05"/></default>
</default>
<worldbody>
<light name="key" directional="true" pos="0 0 1.5" dir="0.2 -0.3 -1" castshadow="false"
 diffuse="0.55 0.55 0.55" ambient="0.35 0.35 0.35" specular="0.05 0.05 0.05"/>
<light name="fill" directional="true" pos="0 1 1" dir="-0.2 -0.9 -0.5" castshadow="false"
 diffuse="0.25 0.25 0.25" ambient="0 0 0" specular="0 0 0"/>
<site name="table" pos="0 0 0" size="0.002" rgba="0 0 0 0"/>
{_fixed((0.45, 0.35, 0.02), (0, 0.05, -0.02), "0.82 0.80 0.76 1", name="table", friction="0.5 0.005 0.0001")}
{_plate(layout)}{_chips()}{rack}{_cameras()}{arms}{pins}
</worldbody>
<equality>
{"".join(f'<joint joint1="{a}_finger_a" joint2="{a}_finger_b" solref="0.004 1" solimp="0.99 0.999 0.0001"/>' for a in ARMS)}
</equality>
<tendon>
{"".join(f'<fixed name="{a}_jaws"><joint joint="{a}_finger_a" coef="1"/><joint joint="{a}_finger_b" coef="1"/></fixed>' for a in ARMS)}
</tendon>
<actuator>
{"".join(_actuators(arm) for arm in ARMS)}
</actuator>
<sensor>
{"".join(f'<force name="{a}_force" site="{a}_wrist"/><torque name="{a}_torque" site="{a}_wrist"/>' for a in ARMS)}
</sensor>
</mujoco>"""


def _plate(layout: Layout) -> str:
    x, y = box.PLATE_XY_m[0] + layout.plate_x_m, box.PLATE_XY_m[1] + layout.plate_y_m
    half, cut, pitch, top = box.PLATE_EDGE_m / 2, 0.006, box.HOLE_PITCH_m / 2, box.PLATE_TOP_m
    depth = box.HOLE_DEPTH_m
    z, thick, grey = top - depth / 2, depth / 2, "0.25 0.27 0.30 1"
    floor = (top - depth) / 2
    out = [_fixed((half, half, floor), (0, 0, floor), "0.18 0.19 0.21 1")]
    bands = ((-half, -pitch - cut), (-pitch + cut, pitch - cut), (pitch + cut, half))
    rows = ((-pitch - cut, -pitch + cut), (pitch - cut, pitch + cut))
    for low, high in bands:
        out.append(_fixed((half, (high - low) / 2, thick), (0, (low + high) / 2, z), grey))
    for low, high in rows:
        for left, right in bands:
            out.append(
                _fixed(((right - left) / 2, (high - low) / 2, thick), ((left + right) / 2, (low + high) / 2, z), grey)
            )
    for number, (u, v) in enumerate(box.HOLES):
        out.append(_hole(u * box.HOLE_PITCH_m, v * box.HOLE_PITCH_m, z, thick, cut, grey))
        marker = (math.copysign(half - 0.008, u), math.copysign(half - 0.008, v), top + 0.0002)
        colours = ("0.90 0.15 0.15 1", "0.15 0.65 0.25 1", "0.15 0.30 0.90 1", "0.95 0.80 0.10 1")
        out.append(_geom("cylinder", (0.005, 0.0002), marker, colours[number], name=f"marker_{number}"))
    return f'<body name="plate" pos="{_numbers((x, y, 0))}" euler="0 0 {layout.plate_yaw_rad:.9g}">\n{"".join(out)}</body>\n'


def _hole(x: float, y: float, z: float, thick: float, cut: float, grey: str) -> str:
    """Walls: a ring of boxes whose inner faces touch the bore. Rim: small spheres that round its edge."""
    out, inner, outer = [], box.HOLE_DIAMETER_m / 2, cut * math.sqrt(2) + 0.0002
    half = outer * math.tan(math.pi / RING_BOXES)
    for k in range(RING_BOXES):
        angle = 2 * math.pi * k / RING_BOXES
        middle = (inner + outer) / 2
        pos = (x + middle * math.cos(angle), y + middle * math.sin(angle), z)
        out.append(
            _fixed(((outer - inner) / 2, half, thick), pos, grey, euler=f"0 0 {angle:.9g}", friction="0.3 0.005 0.0001")
        )
    for k in range(RIM_SPHERES):
        angle, radius = 2 * math.pi * (k + 0.5) / RIM_SPHERES, inner + RIM_ROUND_m
        pos = (x + radius * math.cos(angle), y + radius * math.sin(angle), box.PLATE_TOP_m - RIM_ROUND_m)
        end = BITS["end"]
        out.append(_geom("sphere", (RIM_ROUND_m,), pos, grey, contype=end, conaffinity=end, group=3,
                         friction="0.3 0.005 0.0001"))  # fmt: skip
    return "".join(out)


def _chips() -> str:
    geom = _fixed(CHIPS_m, (0, 0, 0), "0.20 0.21 0.23 1", friction="0.3 0.005 0.0001")
    return f'<body name="chips" mocap="true" pos="0 0 -0.3">{geom}</body>\n'


def _rack() -> str:
    """Three square sockets of 4.6 mm, 20 mm deep, whose mouths are as high as the plate's."""
    out, half, z, thick = [], 0.0023, box.PLATE_TOP_m - 0.010, 0.010
    for number in range(3):
        y = (number - 1) * box.RACK_PITCH_m
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            size = (0.004, half + 0.008, thick) if dx else (half, 0.004, thick)
            out.append(_fixed(size, (dx * (half + 0.004), y + dy * (half + 0.004), z), "0.35 0.30 0.25 1"))
    out.append(_fixed((0.012, 0.055, 0.010), (0, 0, 0.010), "0.35 0.30 0.25 1"))
    return f'<body name="rack" pos="{_numbers((*box.RACK_XY_m, 0))}">\n{"".join(out)}</body>\n'


def _pin(number: int) -> str:
    """Frame of a pin: origin at the tip, z towards the head."""
    radius, shaft, head = box.PIN_DIAMETER_m / 2, box.SHAFT_LENGTH_m, box.HEAD_m / 2
    on, pin, friction = BITS["shaft"] | BITS["grip"], BITS["pin"], "0.3 0.005 0.0001"
    return (
        f'<body name="pin_{number}" pos="{0.1 * number:g} 0.3 0.1"><freejoint name="pin_{number}"/>\n'
        f'<inertial pos="0 0 0.036" mass="0.018" diaginertia="2e-5 2e-5 5e-6"/>\n'  # ten times its own: for stability
        + _geom("capsule", (radius, (shaft - radius) / 2), (0, 0, (shaft + radius) / 2), "0.75 0.77 0.80 1",
                contype=on | pin, conaffinity=on | pin, friction=friction, group=3)
        + _geom("cylinder", (radius, shaft / 2), (0, 0, shaft / 2), "0.78 0.80 0.84 1",
                contype=BITS["end"], conaffinity=BITS["end"], friction=friction, name=f"pin_{number}_end")
        + _geom("box", (head, head, head), (0, 0, shaft + head), "0.95 0.45 0.05 1",
                contype=BITS["head"] | BITS["pad"] | pin, conaffinity=BITS["head"] | BITS["pad"] | pin,
                friction="0.3 0.005 0.0001", name=f"pin_{number}_head")
        + f'<site name="tip_{number}" pos="0 0 0" size="0.0005" rgba="0 0 0 0"/>\n</body>\n'
    )  # fmt: skip


def _cameras() -> str:
    out = []
    for name, (position, target, fovy) in box.CAMERAS.items():
        right, up, _ = box.look_at(position, target)
        out.append(
            f'<camera name="{name}" pos="{_numbers(position)}" xyaxes="{_numbers((*right, *up))}" fovy="{fovy:g}"/>\n'
        )
    return "".join(out)


def _arm(arm: str) -> str:
    x, y = BASE_XY_m[arm]
    white, dark = "0.90 0.91 0.93 1", "0.20 0.21 0.23 1"
    low = [f'range="{_numbers(limits)}"' for limits in JOINT_RANGE_rad]
    a, b, c = WRIST_m

    def body(
        name: str, pos: Sequence[float], kg: float, com: Sequence[float], inertia: Sequence[float], turn: float = 0.0
    ) -> str:
        return (
            f'<body name="{arm}_{name}" pos="{_numbers(pos)}" euler="0 0 {turn:.9g}" gravcomp="1">'
            f'<inertial pos="{_numbers(com)}" mass="{kg:g}" diaginertia="{_numbers(inertia)}"/>\n'
        )

    def joint(number: int, axis: str) -> str:
        wrist = ' class="wrist"' if number > 3 else ""
        return f'<joint name="{arm}_q{number}"{wrist} type="hinge" axis="{axis}" {low[number - 1]}/>\n'

    palm = _geom("box", (0.035, 0.018, 0.012), (0, 0, c - 0.045), dark, contype=BITS["hand"], conaffinity=BITS["hand"])
    camera = ""
    if arm == "right":
        camera = (
            f'<camera name="wrist" pos="{_numbers((0.0, -0.065, c - 0.09))}" xyaxes="1 0 0 0 -0.9 0.436" fovy="60"/>\n'
        )
    return (
        f'<body name="{arm}_base" pos="{_numbers((x, y, 0))}" euler="0 0 {math.pi / 2:.9g}">\n'
        + _geom("cylinder", (0.045, 0.05), (0, 0, 0.05), dark)
        + body("link1", (0, 0, 0.10), 0.8, (0, 0, 0.03), (2e-3, 2e-3, 1e-3)) + joint(1, "0 0 1")
        + _geom("cylinder", (0.035, 0.04), (0, 0, 0.03), white)
        + body("link2", (0, 0, SHOULDER_m - 0.10), 1.0, (0, 0, 0.12), (7e-3, 7e-3, 8e-4)) + joint(2, "0 1 0")
        + _geom("capsule", (0.026, UPPER_m / 2), (0, 0, UPPER_m / 2), white)
        + body("link3", (0, 0, UPPER_m), 0.7, (0, 0, 0.11), (4e-3, 4e-3, 5e-4)) + joint(3, "0 1 0")
        + _geom("capsule", (0.022, FOREARM_m / 2), (0, 0, FOREARM_m / 2), white)
        + body("link4", (0, 0, FOREARM_m), 0.3, (0, 0, 0.03), (4e-4, 4e-4, 2e-4)) + joint(4, "0 1 0")
        + _geom("cylinder", (0.022, a / 2), (0, 0, a / 2), dark)
        + body("link5", (0, 0, a), 0.25, (0, 0, 0.02), (3e-4, 3e-4, 1e-4)) + joint(5, "1 0 0")
        + _geom("cylinder", (0.022, b / 2), (0, 0, b / 2), white)
        + body("hand", (0, 0, b), HAND_KG, (0, 0, 0.03), (5e-4, 5e-4, 3e-4), math.pi / 2) + joint(6, "0 0 1")
        + f'<site name="{arm}_wrist" pos="0 0 0" size="0.002" rgba="0 0 0 0"/>\n'
        + f'<site name="{arm}_tcp" pos="{_numbers((0, 0, c))}" quat="0 0 1 0" size="0.002" rgba="0 0 0 0"/>\n'
        + _geom("cylinder", (0.025, 0.02), (0, 0, 0.02), dark) + palm + camera
        + _finger(arm, "a", 1, c, dark) + _finger(arm, "b", -1, c, dark)
        + "</body>" * 7 + "\n"
    )  # fmt: skip


def _finger(arm: str, name: str, side: int, tcp: float, rgba: str) -> str:
    """A finger that slides along the hand's x. Its pad is four spheres for heads and a box for shafts."""
    face, pad = 0.004, 0.002
    spheres = "".join(
        _geom("sphere", (pad,), (side * pad, y, tcp + z), "0.1 0.1 0.1 1", contype=BITS["pad"], conaffinity=BITS["pad"],
              group=3, **PAD)
        for y in (-0.0045, 0.0045) for z in (-0.0045, 0.0045)
    )  # fmt: skip
    flesh = BITS["grip"]
    return (
        f'<body name="{arm}_finger_{name}" gravcomp="1">'
        f'<inertial pos="{_numbers((side * 0.01, 0, tcp - 0.02))}" mass="{FINGER_KG:g}" diaginertia="1e-5 1e-5 5e-6"/>\n'
        f'<joint name="{arm}_finger_{name}" class="finger" type="slide" axis="{side} 0 0" range="0 {FINGER_m:g}"/>\n'
        + _geom("box", (0.004, 0.007, 0.022), (side * (face + 0.0005), 0, tcp - 0.014), rgba,
                contype=BITS["hand"], conaffinity=BITS["hand"])
        + _geom("box", (0.001, 0.007, 0.007), (side * 0.001, 0, tcp), "0.15 0.15 0.16 1")
        # thick: a shaft that is pressed deeper into a pad than the pad is thick is thrown out of its wrong side
        + _geom("box", (0.005, 0.007, 0.007), (side * 0.005, 0, tcp), "0.15 0.15 0.16 1", contype=flesh,
                conaffinity=flesh, condim=4, group=3, name=f"{arm}_pad_{name}", **PAD)
        + spheres + "</body>\n"
    )  # fmt: skip


def _actuators(arm: str) -> str:
    """Six Cartesian springs from the TCP to its target in the table frame, and the jaws' servo."""
    out = []
    for k, axis in enumerate(("x", "y", "z", "rx", "ry", "rz")):
        gear = [0] * 6
        gear[k] = 1
        force = 80 if k < 3 else 12
        out.append(
            f'<general name="{arm}_{axis}" site="{arm}_tcp" refsite="table" gear="{_numbers(gear)}" gaintype="fixed" '
            f'biastype="affine" gainprm="1000" biasprm="0 -1000 -60" forcerange="-{force} {force}"/>\n'
        )
    out.append(
        f'<general name="{arm}_jaws" tendon="{arm}_jaws" gaintype="fixed" biastype="affine" gainprm="6000" '
        f'biasprm="0 -6000 -60" forcerange="-20 20"/>\n'
    )
    return "".join(out)
