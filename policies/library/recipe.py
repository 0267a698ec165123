"""What the pipelines of all environments share: the knobs of a checkpoint, and one module for every slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


def read_params(checkpoint: Path) -> dict[str, float]:
    """The numbers of `params.yaml` in a checkpoint folder; an empty file gives none."""
    import yaml

    raw = yaml.safe_load((checkpoint / "params.yaml").read_text(encoding="utf-8")) or {}
    return {str(key): float(value) for key, value in raw.items()}


def make_modules(
    slots: Sequence[str], modules: Mapping[str, ModuleType | Any], params: Mapping[str, float]
) -> dict[str, Any]:
    """Slot → what its module makes of `params`; modules are made in the order of the slots.

    Raises:
        ValueError: a slot has no module, or there is a module for a slot that does not exist.
    """
    missing = [slot for slot in slots if slot not in modules]
    if missing or len(modules) != len(slots):
        raise ValueError(f"modules for slots {sorted(modules)}; a pipeline has exactly: {', '.join(slots)}")
    return {slot: modules[slot].make(params) for slot in slots}
