"""Profiles: how real a simulated Push-T station is. Named YAML files in robots/profiles/, or a file of one's own.

Each field is a value ± spread. A station draws its own value once, uniformly within the spread, from its station
seed; an episode moves it by up to a tenth of the spread, from its episode seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nightlab.errors import UsageError

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


class PushTProfile(BaseModel):
    """The knobs between simulation and reality."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
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

    def sample_station(self, station_seed: int) -> StationTraits:
        """The traits of one station; the same seed gives the same station."""
        rng = np.random.default_rng([0x57A7, abs(int(station_seed))])
        return StationTraits(
            {name: spread.value + spread.spread * rng.uniform(-1, 1) for name, spread in self.spreads().items()},
            {name: spread.spread for name, spread in self.spreads().items()},
        )

    def spreads(self) -> dict[str, Spread]:
        """All numeric fields by name."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "name"}


class StationTraits:
    """What one simulated station is like; `episode(rng)` moves it a little."""

    def __init__(self, values: dict[str, float], spreads: dict[str, float]) -> None:
        self.values = values
        self._spreads = spreads

    def episode(self, rng: np.random.Generator) -> dict[str, float]:
        """The traits of one episode: field name → value; never negative, step counts rounded."""
        out = {}
        for name, value in self.values.items():
            moved = value + EPISODE_SHARE * self._spreads[name] * rng.uniform(-1, 1)
            out[name] = moved if name.startswith("block_cog") else max(0.0, moved)
            if name.endswith("_steps"):
                out[name] = float(round(out[name]))
        return out


def profile_names() -> list[str]:
    """Names of the built-in profiles."""
    return sorted(path.stem for path in PROFILE_DIR.glob("*.yaml"))


def load_profile(name_or_path: str | Path) -> PushTProfile:
    """A built-in profile by name, or a YAML file with the same fields.

    Raises:
        UsageError: neither a known name nor a readable file, or a field that does not exist or is not a number.
    """
    text = str(name_or_path)
    path = PROFILE_DIR / f"{text}.yaml" if text in profile_names() else Path(text)
    if not path.is_file():
        raise UsageError.unknown("profile", text, profile_names(), "--profile nominal, or a path of a YAML file")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict):
            raise UsageError(f"profile {text!r} is not a mapping of fields. Try: cp robots/profiles/real.yaml {text}")
        return PushTProfile.model_validate({"name": path.stem, **raw})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        fields = ", ".join(name for name in PushTProfile.model_fields if name != "name")
        first = str(error).splitlines()
        detail = "; ".join(line.strip() for line in first[1:3]) if len(first) > 1 else str(error)
        raise UsageError(f"profile {text!r} cannot be read ({detail}); fields are: {fields}") from error
