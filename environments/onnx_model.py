"""A learned model in a frozen environment: an ONNX file beside the code, hashed in the manifest, run on one CPU thread.

onnxruntime is imported on the first picture only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightlab.errors import UsageError


class OnnxModel:
    """One model file with one input and one output. Not thread-safe while it loads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._session: Any = None

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The model's output for a batch.

        Args:
            batch: float32, of the shape that the model was exported with; the first axis is free.

        Raises:
            UsageError: the file is missing or no model, or the batch does not fit it.
        """
        session = self._open()
        try:
            (out,) = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(batch, dtype=np.float32)})
        except Exception as error:  # onnxruntime's own classes are compiled and not exported
            raise UsageError(f"model {self.path.name} cannot judge a batch of shape {batch.shape}: {error}") from error
        return np.asarray(out, dtype=np.float32)

    def _open(self) -> Any:
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            try:
                self._session = onnxruntime.InferenceSession(
                    self.path.read_bytes(), options, providers=["CPUExecutionProvider"]
                )
            except OSError as error:
                raise UsageError(
                    f"model {self.path} is missing ({error.strerror}); restore it: git checkout -- {self.path.name}"
                ) from error
            except Exception as error:  # as above
                raise UsageError(f"{self.path} is no ONNX model: {error}; restore it with git checkout") from error
        return self._session
