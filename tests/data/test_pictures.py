from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.film import write_film
from data.pictures import first_episode


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


def test_a_broken_film_is_left_out(dataset: tuple[Path, Path]) -> None:
    film, folder = dataset
    film.write_bytes(b"not a film")
    assert first_episode(film, folder) == b""
