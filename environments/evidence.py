"""Evidence as a message: what travels to the verifier process. Frames are PNG, arrays lists of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from environments.frames import decode_frames
from nightlab.contracts import EpisodeEvidence, Frame, Values
from nightlab.errors import UsageError
from nightlab.records import Clock

Message = dict[str, Any]


def to_message(
    environment: str,
    pngs: Sequence[bytes],
    observations: Sequence[Values],
    faults: Sequence[str] = (),
    start: Mapping[str, float] | None = None,
    *,
    seqs: Sequence[int] | None = None,
    cameras: Sequence[str] | None = None,
) -> Message:
    """Evidence with frames already encoded; `seqs` default to 0, 1, …, `cameras` to the environment's own."""
    return {
        "environment": environment,
        "pngs": list(pngs),
        "observations": [{key: np.asarray(value).tolist() for key, value in seen.items()} for seen in observations],
        "faults": list(faults),
        "start": {key: float(value) for key, value in (start or {}).items()},
        "seqs": list(range(len(pngs)) if seqs is None else seqs),
        "cameras": [] if cameras is None else list(cameras),
    }


def from_message(message: Mapping[str, Any]) -> EpisodeEvidence:
    """The evidence in a message. Raises UsageError if malformed."""
    try:
        clock = Clock(wall_s=0.0, station_s=0.0)
        pictures = decode_frames(message["pngs"])
        cameras = message["cameras"] or [""] * len(pictures)
        return EpisodeEvidence(
            environment=str(message["environment"]),
            frames=tuple(
                Frame(str(name), clock, int(seq), rgb)
                for name, seq, rgb in zip(cameras, message["seqs"], pictures, strict=True)
            ),
            observations=tuple(
                {str(key): np.asarray(value, dtype=np.float64) for key, value in seen.items()}
                for seen in message["observations"]
            ),
            faults=tuple(str(fault) for fault in message["faults"]),
            start={str(key): float(value) for key, value in message["start"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"evidence that is not understood ({type(error).__name__}: {error})") from error
