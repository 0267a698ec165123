"""What counts as a hit, as a recovery and as done; on a lab that is scripted."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import chaos as module
from benchmarks.chaos import MISSES, Chaos, main
from benchmarks.chaos_cells import Cell
from benchmarks.chaos_lab import ChaosLab, Open
from data.ledger import SqliteLedger
from data.testing import scripted_record
from nightlab.records import Event, EventKind, Outcome, Verdict


class ScriptedLab:
    """Each look brings the next news; without any, the campaign ends."""

    speed = "20"

    def __init__(self, path: Path, *news: dict[tuple[str, str], float]) -> None:
        self.path, self.news = path, list(news)
        self.latest: dict[tuple[str, str], float] = {}
        self.ended: dict[str, float] = {}
        self.running = True

    def look(self) -> list[Open]:
        if self.news:
            self.latest |= self.news.pop(0)
        else:
            self.running = False
        return []

    def wait(self, timeout_s: float) -> int:
        return 0

    def durable(self) -> set[str]:
        return set()


def chaos_on(lab: ScriptedLab, cell: Cell, said: list[str] | None = None) -> Chaos:
    say: Callable[[str], None] = (said if said is not None else []).append
    return Chaos(lab, Counter({cell: 1}), lab.path / "out", patience_s=5.0, say=say)  # type: ignore[arg-type]


def at(stage: str) -> Open:
    return Open(mark="m", stage=stage, iteration="I1", station="robot-1", since_s=0.0)


ROW = {("row", "robot-1"): 11.0}
"""An episode's row after the fault, which came at 10 s."""


@pytest.mark.parametrize(
    ("process", "stage", "sign"),
    [
        ("verifier", "verify", ("episode", "robot-1")), ("keeper", "rollout", ("episode", "robot-1")),
        ("station server", "rollout", ("episode", "robot-1")), ("station flow", "rollout", ("stage", "robot-1")),
        ("recorder", "summarize", ("shard", "")), ("trainer", "train", ("finished", "train")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("fault", ["disconnect", "fill"])
def test_only_its_own_work_shows_that_a_process_is_back(
    tmp_path: Path, fault: str, process: str, stage: str, sign: tuple[str, str]
) -> None:
    lab = ScriptedLab(tmp_path, ROW | {sign: 9.0}, *[ROW] * 10, {sign: 12.0}, *[ROW] * 100)
    why, back_s = chaos_on(lab, (fault, process, stage))._recovered((fault, process, stage), at(stage), 1, 10.0)
    assert why == ""
    assert back_s is not None
    assert back_s > 0.15, "an episode's row that comes anyway shows nothing"
    assert lab.running


@pytest.mark.parametrize("process", ["Prefect server", "fleet", "campaign flow"])
def test_where_nothing_shows_it_no_time_is_stated(tmp_path: Path, process: str) -> None:
    cell = ("disconnect", process, "train")
    assert chaos_on(lab := ScriptedLab(tmp_path, {}, ROW), cell)._recovered(cell, at("train"), 1, 10.0) == ("", None)
    assert lab.running, "but the campaign went on"


def test_a_sign_that_does_not_come_is_named(tmp_path: Path) -> None:
    cell = ("disconnect", "recorder", "summarize")
    chaos = chaos_on(ScriptedLab(tmp_path, *[ROW] * 1000), cell)
    chaos.patience_s = 0.2
    assert chaos._recovered(cell, at("summarize"), 1, 10.0) == (
        "no recovery within 0 s: waited for the next shard", None
    )  # fmt: skip


def test_a_cut_of_no_connection_is_no_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.faults, "disconnect", lambda pid: 0)
    monkeypatch.setattr(module, "MISSED_S", 0.0)
    cell, said = ("disconnect", "recorder", "summarize"), list[str]()
    chaos = chaos_on(ScriptedLab(tmp_path), cell, said)
    for _ in range(MISSES):
        assert chaos._hit(cell, at("summarize"), os.getpid()) is None
    assert said == [
        "disconnect/recorder/summarize: 12 faults hit nothing, the last because it had no connection to cut; given up"
    ]
    assert cell not in chaos.wanted


def test_a_disk_that_could_not_be_filled_is_no_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(folder: Path) -> Path:
        (folder / ".chaos-fill").write_bytes(b"")
        return folder / ".chaos-fill"

    (tmp_path / "spool").mkdir()
    monkeypatch.setattr(module.faults, "fill", fill)
    monkeypatch.setattr(module, "MISSED_S", 0.0)
    cell = ("fill", "keeper", "rollout")
    assert chaos_on(ScriptedLab(tmp_path), cell)._hit(cell, at("rollout"), os.getpid()) is None
    assert list((tmp_path / "spool").iterdir()) == [], "its space is given back"


def test_the_ledger_says_what_each_process_did_last(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    lab = ChaosLab(tmp_path, stations=2, speed="20", budget_s=1.0, seed=1)
    record = scripted_record(5)
    lost = record.model_copy(
        update={
            "verdict": Verdict(outcome=Outcome.UNSCORED, score=0.0, reason="the verifier was away"),
            "rollout_begin": record.rollout_begin.model_copy(update={"wall_s": record.rollout_begin.wall_s + 50.0}),
        }
    )

    def append(kind: EventKind, wall_s: float, station: str = "", **data: Any) -> list[Open]:
        event_id = f"C1:I1:{kind}:{wall_s}"
        ledger.append(
            Event(
                event_id=event_id, kind=kind, campaign="C1", iteration="I1", station=station, wall_s=wall_s, data=data
            )
        )  # fmt: skip
        return lab.look()

    append("stage_started", 1.0, "robot-2", stage="train")
    append("stage_finished", 2.0, "robot-2", stage="train")
    append("stage_failed", 3.0, "robot-1", stage="train", reason="no data")
    append("episode", 4.0, "robot-1", **record.model_dump(mode="json"))
    append("episode", 5.0, "robot-1", **lost.model_dump(mode="json"))
    append("shard", 6.0)
    assert lab.latest == {
        ("stage", "robot-2"): 2.0, ("finished", "train"): 2.0, ("stage", "robot-1"): 3.0, ("row", "robot-1"): 5.0,
        ("episode", "robot-1"): record.rollout_begin.wall_s, ("shard", ""): 6.0,
    }, "an unscored episode shows nothing of the verifier"  # fmt: skip


def hit(process: str, *, ok: bool) -> dict[str, Any]:
    return {
        "fault": "kill", "process": process, "stage": "rollout", "ok": ok, "why": "" if ok else "no recovery",
        "back_s": 1.0, "motion_s": None, "stopped_s": None,
    }  # fmt: skip


@pytest.fixture
def labs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, list[bool]]:
    """What the hits of each process come to, run after run; labs are empty folders."""
    outcomes: dict[str, list[bool]] = {"keeper": [], "verifier": []}

    def chaos(path: Path, wanted: Counter[Cell], out: Path, **_: Any) -> list[dict[str, Any]]:
        path.mkdir()
        hits = [hit(cell[1], ok=outcomes[cell[1]].pop(0)) for cell in wanted if outcomes[cell[1]]]
        with out.open("a") as file:
            file.writelines(json.dumps(one) + "\n" for one in hits)
        return hits

    monkeypatch.setattr(module, "chaos", chaos)
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    return outcomes


CELLS = ["--cells", "kill/keeper/rollout,kill/verifier/rollout", "--n", "1"]


def test_the_status_is_zero_once_all_is_done_and_nothing_on_record_failed(
    tmp_path: Path, labs: dict[str, list[bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    out, room = tmp_path / "out.jsonl", tmp_path / f"nightlab-chaos-{os.getpid()}"
    asked = ["--out", str(out), *CELLS]
    labs["keeper"] = [True]
    assert main(asked) == 1, "the limit came before every cell was hit"
    said = capsys.readouterr()
    assert "1 cells are not done: kill/verifier/rollout. Run the same command again" in said.err
    assert not room.exists(), "a lab whose hits were ok is removed"
    labs["verifier"] = [False]
    assert main(asked) == 1
    assert f"1 hits in {out} failed; take their lines out once they are understood" in (err := capsys.readouterr()).err
    assert f"the lab stays at {room}/chaos-lab" in err.out
    (room / "chaos-lab").rmdir()
    labs["verifier"] = [True]
    assert main(asked) == 1, "it failed once, whatever came later"
    assert "are not done" not in capsys.readouterr().err, "a failed hit was done again"
    assert main(asked) == 1, "and stays on record"
    out.write_text("".join(line + "\n" for line in out.read_text().splitlines() if json.loads(line)["ok"]))
    assert main(asked) == 0


def test_labs_stay_where_asked(tmp_path: Path, labs: dict[str, list[bool]]) -> None:
    labs |= {"keeper": [True, True], "verifier": [True, True]}
    assert main(["--out", str(tmp_path / "one"), *CELLS, "--keep"]) == 0
    assert (tmp_path / f"nightlab-chaos-{os.getpid()}" / "chaos-lab").is_dir()
    assert main(["--out", str(tmp_path / "two"), *CELLS, "--lab", str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine-lab").is_dir()


def test_what_lives_shortly_is_hit_first(tmp_path: Path) -> None:
    lab = ScriptedLab(tmp_path)
    chaos = chaos_on(lab, ("kill", "keeper", "train"))
    chaos.wanted[("kill", "trainer", "train")] = 1
    lab.look = lambda: [Open("m", "train", "I1", "robot-1", time.time())]  # type: ignore[method-assign]
    lab.find = lambda process, _: {"keeper": 1, "trainer": 2}[process]  # type: ignore[attr-defined]
    found = chaos._chance()
    assert found is not None
    assert (found[0], found[2]) == (("kill", "trainer", "train"), 2)
