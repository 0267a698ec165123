"""Reading `station.yaml`, and what must hold before it is served."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from nightlab.errors import UsageError
from nightlab.records import CellConfig


def read_cell(path: Path) -> CellConfig:
    """A `station.yaml`.

    Raises:
        UsageError: no such file, no YAML, unknown or wrong fields; an address that others reach, without TLS and tokens.
    """
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}. A first one: {{station: robot-1, driver: simulated}}; see docs/stations.md"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{path} must be a mapping of settings, e.g. `station: robot-1`; see docs/stations.md")
    try:
        cell = CellConfig.model_validate({**raw, "folder": path.parent.absolute()})
    except ValidationError as error:
        raise UsageError(f"{path}: {why(error)}. Every field: docs/stations.md") from error
    check_reach(cell)
    return cell


def check_reach(cell: CellConfig) -> None:
    """Refuse an address that other machines reach, unless both sides prove who they are.

    Raises:
        UsageError: mutual TLS or tokens are missing.
    """
    missing = [name for name in ("tls", "tokens") if getattr(cell, name) is None]
    if missing and not cell.loopback:
        raise UsageError(
            f"station {cell.station} would answer on {cell.address}, which other machines reach, without "
            f"{' and '.join(missing)}. Make keys: nightlab station keys DIR, name them in station.yaml, or serve 127.0.0.1"
        )


def state_folder(cell: CellConfig) -> Path:
    """Where a station keeps its latch, its e-stop socket and, without `tokens`, its operator's token."""
    return cell.path(cell.state_dir) / cell.station


def why(error: ValidationError) -> str:
    """What is wrong with a file, in one line."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    )
