"""Where environments are and what their cards say, without importing any of their code.

An environment of this project is the folder environments/<name>/ with an `environment.yaml`. One from elsewhere is an
installed package that the entry-point group `nightlab.environments` names; its card lies beside its `__init__.py`. So
every room can ask for a goal, a world or a template, while only environments/ runs an environment's code.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import yaml
from pydantic import ValidationError

from nightlab.errors import UsageError
from nightlab.records import EnvironmentCard

PROJECT = Path(__file__).resolve().parents[1]
ENTRY_POINTS = "nightlab.environments"
"""Entry-point group of environments outside this project: name → package."""
CARD = "environment.yaml"


def names() -> list[str]:
    """Names of all environments, of this project and installed ones."""
    own = (path.parent.name for path in (PROJECT / "environments").glob(f"*/{CARD}"))
    return sorted({*own, *installed()})


def folder(name: str) -> Path:
    """Where an environment's package lies.

    Raises:
        UsageError: no such environment, or its package cannot be found.
    """
    own = PROJECT / "environments" / name
    if Path(name).name == name and (own / CARD).is_file():
        return own
    package = installed().get(name)
    if package is None:
        raise UsageError.unknown("environment", name, names(), "nightlab environment list")
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise UsageError(
            f"environment {name!r} is installed as package {package!r}, which cannot be found; install it again, e.g. "
            "uv pip install --editable DIR"
        )
    return Path(found.origin).parent


def card(name: str) -> EnvironmentCard:
    """An environment's card; kept until the file changes.

    Raises:
        UsageError: no such environment, or its card cannot be read.
    """
    path = folder(name) / CARD
    try:
        return _read(name, path, path.stat().st_mtime_ns)
    except OSError as error:
        raise UsageError(
            f"environment {name!r} has no card {path} ({error.strerror}); write one after docs/new_environment.md"
        ) from error


def find(name: str) -> EnvironmentCard | None:
    """An environment's card; None where it is not installed (any more), so that its records can still be read."""
    try:
        return card(name)
    except UsageError:
        return None


def template(name: str) -> Path:
    """Folder with the researcher's first policy.py, train.py, params.yaml and notes.md."""
    own = card(name).template
    return folder(name) / own if own else PROJECT / "research" / name


def library(name: str) -> Path:
    """The package of modules that the environment's policies may import; it may not exist."""
    own = card(name).library
    return folder(name) / own if own else PROJECT / "policies" / "library" / name


def catalogue(name: str) -> Path:
    """The catalogue of ideas: what a researcher may combine; it may not exist."""
    return library(name) / "catalogue.yaml"


def bibliography(name: str) -> Path | None:
    """The environment's own literature, if it brings any."""
    own = card(name).bibliography
    return folder(name) / own if own else None


def outside() -> list[Path]:
    """Folders of the environments that are not of this project; no policy may read them."""
    return [folder(name) for name in installed() if find(name) is not None]


def outside_libraries() -> list[Path]:
    """Module packages that environments from elsewhere offer to policies."""
    found = {name: find(name) for name in installed()}
    return [library(name) for name, about in found.items() if about is not None and about.library]


def installed() -> dict[str, str]:
    """Name → package of the environments from elsewhere."""
    return _entry_points(tuple(sys.path))


@lru_cache(maxsize=4)
def _entry_points(_path: tuple[str, ...]) -> dict[str, str]:
    return {point.name: point.value for point in metadata.entry_points(group=ENTRY_POINTS)}


@lru_cache(maxsize=64)
def _read(name: str, path: Path, _mtime_ns: int) -> EnvironmentCard:
    try:
        found = EnvironmentCard.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        why = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors())
        raise UsageError(f"{path} is no environment's card: {why}. See docs/new_environment.md") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is no environment's card: {' '.join(str(error).split())}. See docs/new_environment.md"
        ) from error
    if found.name != name:
        raise UsageError(
            f"{path} says name: {found.name}, but the environment is registered as {name!r}; make them one"
        )
    return found
