"""Evidence as a message: what travels to the verifier process. Frames are PNG, arrays lists of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from environments.frames import decode_depths, decode_frames
from nightlab.contracts import EpisodeEvidence, Frame, StoredEvidence, Values
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
    depths_png: Sequence[bytes] | None = None,
    measures: Mapping[str, float] | None = None,
) -> Message:
    """Evidence with frames already encoded.

    `seqs` default to 0, 1, …, `cameras` to the environment's own; `depths_png`: one per frame, `b""` for none.
    """
    return {
        "environment": environment,
        "pngs": list(pngs),
        "observations": [{key: np.asarray(value).tolist() for key, value in seen.items()} for seen in observations],
        "faults": list(faults),
        "start": {key: float(value) for key, value in (start or {}).items()},
        "seqs": list(seqs or range(len(pngs))),
        "cameras": list(cameras or ()),
        "depths": list(depths_png or ()),
        "measures": {key: float(value) for key, value in (measures or {}).items()},
    }


def stored_message(
    environment: str, stored: StoredEvidence, faults: Sequence[str] = (), start: Mapping[str, float] | None = None
) -> Message:
    """What was kept of an episode as a message."""
    return to_message(
        environment, stored.frames_png, stored.observations, faults, start,
        seqs=stored.seqs, cameras=stored.cameras, depths_png=stored.depths_png, measures=stored.measures,
    )  # fmt: skip


def from_message(message: Mapping[str, Any]) -> EpisodeEvidence:
    """The evidence in a message. Raises UsageError if malformed."""
    try:
        clock = Clock(wall_s=0.0, station_s=0.0)
        pictures = decode_frames(message["pngs"])
        cameras = message["cameras"] or [""] * len(pictures)
        depths = decode_depths(message["depths"]) or [None] * len(pictures)
        return EpisodeEvidence(
            environment=str(message["environment"]),
            frames=tuple(
                Frame(str(name), clock, int(seq), rgb, depth)
                for name, seq, rgb, depth in zip(cameras, message["seqs"], pictures, depths, strict=True)
            ),
            observations=tuple(
                {str(key): np.asarray(value, dtype=np.float64) for key, value in seen.items()}
                for seen in message["observations"]
            ),
            faults=tuple(str(fault) for fault in message["faults"]),
            start={str(key): float(value) for key, value in message["start"].items()},
            measures={str(key): float(value) for key, value in message["measures"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"evidence that is not understood ({type(error).__name__}: {error})") from error
