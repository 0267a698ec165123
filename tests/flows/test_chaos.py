"""Ten cells of the chaos table on one small campaign. All of them: make chaos (docs/chaos.md)."""

from pathlib import Path

import pytest

from benchmarks.chaos import chaos
from benchmarks.chaos_cells import parse_cells


@pytest.mark.timeout(900)
def test_a_campaign_survives_ten_deaths(tmp_path: Path) -> None:
    """Usually one campaign of 90 s; cells that a slow machine did not come to are hit in a second one."""
    said: list[str] = []
    wanted = parse_cells(["sample"], 1)
    hits = chaos(
        tmp_path / "lab", wanted, tmp_path / "hits.jsonl", speed="10", budget_s=90.0, limit_s=600.0, seed=3, say=said.append
    )  # fmt: skip
    bad = [hit for hit in hits if not hit["ok"]]
    assert not bad, "\n".join([*map(str, bad), *said])
    assert len(hits) == 10, "\n".join(said)
    for hit in hits:
        assert (hit["lost"], hit["twice"], hit["run_exit"]) == (0, 0, 0), hit
    (trial,) = (hit for hit in hits if hit["process"] == "trial")
    assert trial["motion_s"] is None or trial["motion_s"] <= trial["motion_bound_s"], trial
