"""Profiles: how real a simulated station is. Named YAML files in robots/profiles/<world>/, or a file of one's own.

Each field is a value ± spread. A station draws its own value once, uniformly within the spread, from its station
seed; an episode moves it by up to a tenth of the spread, from its episode seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nightlab.errors import UsageError
from robots import outside

PROFILE_DIR: Final = Path(__file__).with_name("profiles")
EPISODE_SHARE: Final = 0.1
"""Share of the spread by which an episode differs from its station."""


class Spread(BaseModel):
    """A value ± spread. A bare number in YAML is a value without spread."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    spread: float = Field(default=0.0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _number(cls, raw: Any) -> Any:
        return {"value": raw} if isinstance(raw, int | float) else raw


class Profile(BaseModel):
    """The knobs between simulation and reality of one world; a subclass adds them as fields of type `Spread`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    SIGNED: ClassVar[tuple[str, ...]] = ()
    """Fields that may be negative; all others stop at 0."""
    STATION_ONLY: ClassVar[tuple[str, ...]] = ()
    """Fields that an episode does not move."""

    name: str

    def sample_station(self, station_seed: int) -> StationTraits:
        """The traits of one station; the same seed gives the same station."""
        rng = np.random.default_rng([0x57A7, abs(int(station_seed))])
        return StationTraits(
            {name: spread.value + spread.spread * rng.uniform(-1, 1) for name, spread in self.spreads().items()},
            {name: spread.spread for name, spread in self.spreads().items()},
            self.SIGNED,
            self.STATION_ONLY,
        )

    def spreads(self) -> dict[str, Spread]:
        """All numeric fields by name."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in fields.items() if isinstance(value, Spread)}


class PushTProfile(Profile):
    """A Push-T table."""

    SIGNED: ClassVar[tuple[str, ...]] = ("block_cog_x_px", "block_cog_y_px")

    pose_noise_px: Spread = Spread(value=0)
    """Standard deviation of the pose sensor's x and y, white, per control period."""
    pose_noise_rad: Spread = Spread(value=0)
    action_latency_steps: Spread = Spread(value=0)
    """Control periods between an action and its effect (rounded)."""
    observation_delay_steps: Spread = Spread(value=0)
    """Age of what is observed, in control periods (rounded)."""
    gain_factor: Spread = Spread(value=1)
    """Factor on the proportional gain of the pusher's controller."""
    action_jitter_px: Spread = Spread(value=0)
    """Standard deviation of white noise on the executed target."""
    friction: Spread = Spread(value=0)
    """Coulomb coefficient of every shape; pymunk multiplies the two in contact."""
    block_cog_x_px: Spread = Spread(value=0)
    block_cog_y_px: Spread = Spread(value=45)
    """Centre of gravity of the T in its body frame."""


class YamBenchProfile(Profile):
    """A bimanual bench with a pin box."""

    SIGNED: ClassVar[tuple[str, ...]] = ("plate_x_m", "plate_y_m", "plate_yaw_rad")
    STATION_ONLY: ClassVar[tuple[str, ...]] = (*SIGNED, "camera_jitter_m", "camera_jitter_rad")

    look: str = "primitives"
    """What the arms look like: `primitives`, or real meshes, `yam` or `so101` (extras; see worlds/yam_bench_look.py)."""
    pins: int = Field(default=1, ge=1, le=4)
    """Pins on the bench: one in the right gripper, the others in the rack beside the plate."""
    plate_x_m: Spread = Spread(value=0)
    plate_y_m: Spread = Spread(value=0)
    plate_yaw_rad: Spread = Spread(value=0)
    """Where the plate lies, off its place on the drawing."""
    action_latency_s: Spread = Spread(value=0)
    """Time between an action and its effect (rounded to 2 ms)."""
    observation_delay_steps: Spread = Spread(value=0)
    """Age of what is observed, in control periods (rounded)."""
    gain_factor: Spread = Spread(value=1)
    """Real over commanded stiffness of the arms."""
    joint_friction_Nm: Spread = Spread(value=0.1)
    """Coulomb friction of joints 1 to 3; joints 4 to 6 have three tenths of it."""
    contact_friction: Spread = Spread(value=0.3)
    """Coulomb coefficient between pin and plate."""
    pad_friction: Spread = Spread(value=1.0)
    """Coulomb coefficient of the finger pads."""
    grip_force_N: Spread = Spread(value=20)
    """Most that a gripper squeezes."""
    grasp_tilt_rad: Spread = Spread(value=0)
    grasp_slip_m: Spread = Spread(value=0)
    """Standard deviations of how a pin lies in the gripper after a teleport: tilt about the jaw axis, place along y."""
    tcp_noise_m: Spread = Spread(value=0)
    tcp_noise_rad: Spread = Spread(value=0)
    """Standard deviation of the TCP pose from the encoders, white."""
    force_noise_N: Spread = Spread(value=0)
    torque_noise_Nm: Spread = Spread(value=0)
    """Standard deviation of the wrist sensor, white, per sample (500 Hz)."""
    hole_noise_m: Spread = Spread(value=0)
    """Standard deviation of the vision estimate of the target hole in x and y, drawn once per episode; z has a fifth."""
    pin_noise_m: Spread = Spread(value=0)
    pin_noise_rad: Spread = Spread(value=0)
    """Standard deviation of the estimated pose of the held pin, drawn once per episode."""
    camera_jitter_m: Spread = Spread(value=0)
    camera_jitter_rad: Spread = Spread(value=0)
    """Standard deviation of each camera's pose against the drawing, drawn once per station."""
    light: Spread = Spread(value=1)
    """Factor on the light."""
    image_noise: Spread = Spread(value=0)
    """Standard deviation of the cameras' pixels, of 255."""
    depth_noise_m: Spread = Spread(value=0)
    """Standard deviation of the cameras' depth at 0.5 m; it grows with the square of the distance."""


class StationTraits:
    """What one simulated station is like; `episode(rng)` moves it a little."""

    def __init__(
        self,
        values: dict[str, float],
        spreads: dict[str, float],
        signed: tuple[str, ...] = (),
        station_only: tuple[str, ...] = (),
    ) -> None:
        self.values = values
        self._spreads = spreads
        self._signed = signed
        self._station_only = station_only

    def episode(self, rng: np.random.Generator) -> dict[str, float]:
        """The traits of one episode: field name → value; only `SIGNED` ones are negative, step counts rounded."""
        out = {}
        for name, value in self.values.items():
            share = 0.0 if name in self._station_only else EPISODE_SHARE
            moved = value + share * self._spreads[name] * rng.uniform(-1, 1)
            out[name] = moved if name in self._signed else max(0.0, moved)
            if name.endswith("_steps"):
                out[name] = float(round(out[name]))
        return out


PROFILES: Final[dict[str, type[Profile]]] = {"push_t": PushTProfile, "yam_bench": YamBenchProfile}
"""World → its kind of profile."""


def profile_kind(world: str) -> tuple[type[Profile], Path]:
    """A world's kind of profile and the folder of its named ones.

    Raises:
        UsageError: no such world.
    """
    if world in PROFILES:
        return PROFILES[world], PROFILE_DIR / world
    found = outside.find(world)
    if found is None:
        raise UsageError.unknown("world", world, (*PROFILES, *outside.names()), "--world push_t")
    return found.PROFILE, found.PROFILES


def profile_names(world: str = "push_t") -> list[str]:
    """Names of the built-in profiles of a world."""
    return sorted(path.stem for path in profile_kind(world)[1].glob("*.yaml"))


def load_profile(name_or_path: str | Path, world: str = "push_t") -> Profile:
    """A built-in profile of a world by name, or a YAML file with the same fields.

    Raises:
        UsageError: no such world, neither a known name nor a readable file, or a field that does not exist or is not
            a number.
    """
    kind, folder = profile_kind(world)
    text, names = str(name_or_path), profile_names(world)
    path = folder / f"{text}.yaml" if text in names else Path(text)
    if not path.is_file():
        raise UsageError.unknown("profile", text, names, "--profile nominal, or a path of a YAML file")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict):
            raise UsageError(f"profile {text!r} is not a mapping of fields. Try: cp {folder / 'nominal.yaml'} {text}")
        return kind.model_validate({"name": path.stem, **raw})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        fields = ", ".join(name for name in kind.model_fields if name != "name")
        first = str(error).splitlines()
        detail = "; ".join(line.strip() for line in first[1:3]) if len(first) > 1 else str(error)
        raise UsageError(f"profile {text!r} cannot be read ({detail}); fields of {world} are: {fields}") from error
