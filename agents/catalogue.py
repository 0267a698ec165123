"""What a researcher may combine: slots of a policy, the modules of each slot and their knobs. Read as data, by path."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agents.workspace import load_yaml
from nightlab.cards import PROJECT, catalogue, names
from nightlab.errors import UsageError

LIBRARY = PROJECT / "policies" / "library"
"""Where the module libraries of this project's environments lie."""


class Knob(BaseModel):
    """One number of a module, searched in [low, high]."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    low: float
    high: float
    default: float
    log: bool = False
    int: bool = False
    unit: str = ""

    @model_validator(mode="after")
    def _ordered(self) -> Knob:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.default <= self.high):
            raise ValueError(f"a knob needs low <= default <= high, not {self.low}, {self.default}, {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log knob needs low > 0, not {self.low}")
        return self

    def value(self, raw: float) -> float:
        """A number inside the bounds: an int for int knobs, else rounded to four significant digits."""
        bounded = min(max(raw, self.low), self.high)
        if self.int:
            return round(bounded)
        return float(f"{bounded:.4g}")


class Module(BaseModel):
    """One idea for one slot."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str
    hypothesis: str
    falsified_if: str = ""
    expected_effect: str = ""
    families: tuple[str, ...] = Field(min_length=1)
    knobs: dict[str, Knob] = {}


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Slot → module → what it is."""

    slots: dict[str, dict[str, Module]]

    def __iter__(self) -> Iterator[tuple[str, str, Module]]:
        return ((slot, name, module) for slot, modules in self.slots.items() for name, module in modules.items())

    def module(self, slot: str, name: str) -> Module | None:
        """A module, or None if the catalogue does not know it."""
        return self.slots.get(slot, {}).get(name)

    @property
    def families(self) -> tuple[str, ...]:
        """All families in alphabetical order."""
        return tuple(sorted({family for _, _, module in self for family in module.families}))


def catalogue_path(environment: str) -> Path:
    """Where an environment's catalogue lies.

    Raises:
        UsageError: no such environment, or it has none.
    """
    path = catalogue(environment)
    if not path.is_file():
        known = [name for name in names() if catalogue(name).is_file()]
        raise UsageError.unknown(
            "catalogue of ideas",
            environment,
            known,
            f"another researcher, or write {path} after docs/new_environment.md",
        )
    return path


def load_catalogue(path: Path) -> Catalogue:
    """Read a catalogue; kept until the file changes.

    Raises:
        UsageError: the file breaks the format.
    """
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load(path: Path, _mtime_ns: int) -> Catalogue:
    data = load_yaml(path.read_text(), path.name)
    slots = data.get("slots", data) if isinstance(data, dict) else None
    if not isinstance(slots, dict) or not slots:
        raise UsageError(f"{path.name} holds no slots; it maps slot -> module -> title, hypothesis, families, knobs")
    try:
        return Catalogue(
            {
                slot: {name: Module.model_validate(module) for name, module in modules.get("modules", modules).items()}
                for slot, modules in slots.items()
            }
        )
    except (ValidationError, AttributeError) as error:
        raise UsageError(f"{path.name} breaks the catalogue's format: {str(error).splitlines()[0]} ...") from error
