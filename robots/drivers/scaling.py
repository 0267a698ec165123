"""Pictures for films: scaled to a square."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def square(rgb: NDArray[np.uint8], size_px: int | None) -> NDArray[np.uint8]:
    """A picture, uint8 [height, width, 3]; with a size, scaled to [size, size, 3]."""
    if size_px is None:
        return rgb
    import cv2

    return np.asarray(cv2.resize(rgb, (size_px, size_px), interpolation=cv2.INTER_AREA), dtype=np.uint8)
