"""Films of episodes worth seeing: the pictures of several episodes as one small h264 file, and its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.shard import VideoTrack, image_statistics

CRF = 26
"""x264's quality: 0 is lossless, 51 the worst."""
GOP = 10
"""A whole picture every 10: 2 s at 5 Hz, so a random frame needs at most 10 to be decoded."""
MAX_PX = 256
_SAMPLED = 8
"""Pictures per episode that the statistics look at, every 8th pixel each way."""


def write_film(path: Path, films: Sequence[Sequence[bytes]], fps: int, key: str) -> VideoTrack:
    """Encode JPEG pictures of several episodes into one mp4 (h264, yuv420p, at most 256 px).

    Args:
        path: file to write.
        films: per episode its pictures in order; at least one each, all of one size.
        fps: pictures per second.
        key: the dataset's feature that they become, e.g. `observation.images.top`.
    """
    import av
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    from_s, to_s, stats, samples = [], [], [], []
    height_px = width_px = shown = 0
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = None
        for pictures in films:
            from_s.append(shown / fps)
            kept = []
            every = max(1, len(pictures) // _SAMPLED)
            for number, jpeg in enumerate(pictures):
                picture = _decode(cv2, jpeg)
                if stream is None:
                    height_px, width_px = picture.shape[:2]
                    stream = container.add_stream("libx264", rate=fps)
                    stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
                    stream.options = {"preset": "ultrafast", "crf": str(CRF), "g": str(GOP), "bf": "0"}
                    stream.codec_context.thread_count = 1
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                frame.pts = shown
                container.mux(stream.encode(frame))
                shown += 1
                if number % every == 0:
                    kept.append(picture[::8, ::8, ::-1].reshape(-1, 3) / 255.0)
            to_s.append(shown / fps)
            pixels = np.concatenate(kept)
            stats.append(image_statistics(pixels, len(pictures)))
            samples.append(pixels)
        if stream is not None:
            container.mux(stream.encode())
    return VideoTrack(key, height_px, width_px, from_s, to_s, stats, np.concatenate(samples))


def _decode(cv2: object, jpeg: bytes) -> NDArray[np.uint8]:
    """A picture as BGR, shrunk to MAX_PX and cut to even sides as h264 needs them."""
    picture: NDArray[np.uint8] = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)  # type: ignore[attr-defined]
    longest = max(picture.shape[:2])
    if longest > MAX_PX:
        scale = MAX_PX / longest
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore[attr-defined]
    return picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
