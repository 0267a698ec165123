from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.episodes import encode_png
from data.film import write_film
from data.pictures import first_episode, last_of_each_camera, side_by_side
from nightlab.contracts import StoredEvidence


def jpeg(level: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), level, np.uint8)).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def dataset(tmp_path: Path) -> tuple[Path, Path]:
    """A film of two episodes (10 dark pictures, 20 bright ones) at 5 Hz, with lerobot's episode table."""
    film = tmp_path / "videos" / "observation.images.top" / "chunk-000" / "file-000.mp4"
    track = write_film(film, [[jpeg(20)] * 10, [jpeg(230)] * 20], 5, "observation.images.top")
    table = tmp_path / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    table.parent.mkdir(parents=True)
    pq.write_table(pa.table({"videos/observation.images.top/to_timestamp": list(track.to_s)}), table)
    return film, tmp_path


def test_the_first_episode_of_a_film_is_copied(dataset: tuple[Path, Path]) -> None:
    import av

    blob = first_episode(*dataset)
    with av.open(io.BytesIO(blob)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 10
    assert all(frame.mean() < 60 for frame in frames)


def test_a_failure_shows_the_last_frame_of_every_camera() -> None:
    from PIL import Image

    def png(level: int, width: int) -> bytes:
        return encode_png(np.full((64, width, 3), level, np.uint8))

    frames = [png(1, 64), png(2, 64), png(100, 64), png(220, 128)]
    stored = StoredEvidence(frames_png=frames, cameras=["top", "side", "top", "side"])
    assert last_of_each_camera(stored) == frames[2:]
    assert last_of_each_camera(StoredEvidence(frames_png=frames[:2])) == frames[1:2], (
        "recorded before there were several"
    )
    with Image.open(io.BytesIO(side_by_side(frames[2:]))) as shown:
        pixels = np.asarray(shown)
    assert pixels.shape == (64, 64 + 128, 3)
    assert abs(int(pixels[32, 20, 0]) - 100) < 5 < 200 < pixels[32, 150, 0]


def test_a_broken_film_is_left_out(dataset: tuple[Path, Path]) -> None:
    film, folder = dataset
    film.write_bytes(b"not a film")
    assert first_episode(film, folder) == b""
