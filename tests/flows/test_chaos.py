"""Ten cells of the chaos table on one small campaign. All of them: python -m benchmarks.chaos (docs/chaos.md)."""

from pathlib import Path

import pytest

from benchmarks.chaos import chaos, parse_cells


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_campaign_survives_ten_deaths(tmp_path: Path) -> None:
    said: list[str] = []
    wanted = parse_cells(["sample"], 1)
    hits = chaos(
        tmp_path / "lab", wanted, tmp_path / "hits.jsonl", budget_s=60.0, limit_s=900.0, seed=3, say=said.append
    )
    bad = [hit for hit in hits if not hit["ok"]]
    assert not bad, "\n".join([*map(str, bad), *said])
    assert len(hits) == 10, "\n".join(said)
    for hit in hits:
        assert (hit["lost"], hit["twice"], hit["run_exit"]) == (0, 0, 0), hit
    moved = [hit["motion_s"] for hit in hits if hit["process"] == "trial"]
    assert moved[0] is None or moved[0] <= hits[0]["motion_bound_s"], moved
