"""Settings of a driver, as its section of `station.yaml` gives them: a frozen record, or one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from nightlab.errors import UsageError
from nightlab.records import Record


def read_options[T: Record](kind: type[T], config: Mapping[str, Any], what: str) -> T:
    """The settings as a record.

    Args:
        kind: Record of the settings, with a docstring per field.
        config: As read from YAML.
        what: Whose settings they are, e.g. `driver 'so101' of robot-1`.

    Raises:
        UsageError: a setting that is unknown, missing or of the wrong kind; names it, and the settings there are.
    """
    try:
        return kind.model_validate(config)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        known = ", ".join(name for name in kind.model_fields if name != "schema_version")
        raise UsageError(f"{what}: {wrong}. Its settings are: {known}") from error
