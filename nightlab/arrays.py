"""Named arrays in messages (nightlab/framing.py): key → [shape, little-endian float64 bytes]. Every side checks what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_FLOAT64: Final = np.dtype("<f8")
MAX_ELEMENTS: Final = 1_000_000
"""Of one array."""


def pack(values: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Named arrays as a message. Raises TypeError or ValueError for what is no mapping of strings to numbers."""
    if not isinstance(values, Mapping):
        raise TypeError(f"expected a mapping of channel names to arrays, got {type(values).__name__}")
    message: dict[str, list[Any]] = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise TypeError(f"channel names are strings, got {type(key).__name__} {key!r}")
        try:
            array = np.ascontiguousarray(value, dtype="<f8")
        except (TypeError, ValueError) as error:
            raise TypeError(f"channel {key} is no array of numbers: {error}") from None
        message[key] = [list(np.shape(value)), array.tobytes()]
    return message


def unpack(message: Any) -> dict[str, NDArray[np.float64]]:
    """A message as named arrays of one's own. Raises ValueError for anything that `pack` does not make."""
    if not isinstance(message, dict):
        raise ValueError(f"expected named arrays, got {type(message).__name__}")
    values: dict[str, NDArray[np.float64]] = {}
    for key, packed in message.items():
        if not (isinstance(key, str) and isinstance(packed, list) and len(packed) == 2):
            raise ValueError(f"channel {key!r} is not [shape, bytes]")
        shape, data = packed
        if not (isinstance(shape, list) and len(shape) <= 8 and isinstance(data, bytes)):
            raise ValueError(f"channel {key!r} is not [shape, bytes]")
        count = 1
        for length in shape:
            if not isinstance(length, int) or not 0 <= length <= MAX_ELEMENTS:
                raise ValueError(f"channel {key!r} has the impossible shape {shape!r}")
            count *= length
        if count > MAX_ELEMENTS or len(data) != 8 * count:
            raise ValueError(f"channel {key!r} has shape {shape} and {len(data)} bytes; {8 * count} belong to it")
        array: NDArray[np.float64] = np.frombuffer(bytearray(data), _FLOAT64)
        values[key] = array if len(shape) == 1 else array.reshape(shape)
    return values
