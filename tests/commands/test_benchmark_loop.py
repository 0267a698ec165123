"""The control loop's benchmark, short: real station, client and sandboxed policy, and the yardstick beside."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from commands.benchmark_grpc import yardstick
from commands.benchmark_loop import loop


def test_the_loop_is_measured_beside_its_yardstick(capsys: pytest.CaptureFixture[str]) -> None:
    loop(n=100, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["p50_s"] == found["alone"]["p50_s"]
    for name in ("alone", "beside_a_second", "the_second", "grpc_alone"):
        row = found[name]
        assert row["n"] == 100, name
        assert 0.0 < row["p50_s"] <= row["p99_s"] <= row["max_s"], name


def test_the_yardstick_waits_for_answers_not_for_periods(tmp_path: Path) -> None:
    waited_s = asyncio.run(yardstick(tmp_path, 5.0, 10))
    assert len(waited_s) == 10
    assert sorted(waited_s)[5] < 0.2, "a period is no part of a round trip"
