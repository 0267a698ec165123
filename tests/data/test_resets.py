"""Reset statistics and parked stations, in the figures and on the page."""

from __future__ import annotations

import base64
import math
from pathlib import Path

import pytest

from data.episodes import pack
from data.judged import reset_file
from data.pictures import read_reset_jpeg, reset_pictures
from data.report import render
from data.report_data import figures
from data.report_page import attention
from data.resets import parked, resets, spread
from data.synthetic import START_S, SyntheticCampaign
from data.testing import scripted_arrays, scripted_lab, scripted_record
from nightlab.records import CampaignSpec, EpisodeRecord, Event, ResetReport


def record(seed: int, station: str = "robot-1", **changes: object) -> EpisodeRecord:
    made = scripted_record(seed, station=station)
    return made.model_copy(update={"reset": made.reset.model_copy(update=changes)})


def gave_up(station: str, at_s: float, **report: object) -> Event:
    told = ResetReport(
        success=False, attempts=3, duration_s=90.0, asked={}, achieved={}, distance=math.inf, frames=("before top",)
    )
    return Event(
        event_id=f"p{at_s}",
        kind="station_parked",
        station=station,
        wall_s=at_s,
        data={
            "reason": "pin dropped",
            "fix": f"nightlab unpark {station}",
            "reset": {**told.model_dump(mode="json"), **report},
            "pictures_jpeg_base64": [base64.b64encode(b"\xff\xd8jpeg").decode()],
        },
    )


def test_success_attempts_duration_and_distance_per_station() -> None:
    episodes = [record(n, attempts=1 + n % 2, duration_s=float(n), distance=0.1 * n) for n in range(1, 21)]
    episodes.append(record(30, "robot-2", simulator_shortcut=True, rejected_starts=4, counts={"extractions": 2}))
    found = resets("push_t", [gave_up("robot-2", START_S)], episodes)
    assert found["unit"] == "px"
    one, two = found["stations"]["robot-1"], found["stations"]["robot-2"]
    assert (one["n"], one["successes"], one["attempts"]) == (20, 20, {"1": 10, "2": 10})
    assert one["duration_s"] == pytest.approx({"mean": 10.5, "median": 10.5, "p95": 19.0, "max": 20.0})
    assert one["distance"]["max"] == pytest.approx(2.0)
    assert (two["n"], two["successes"], two["attempts"]) == (2, 1, {"1": 1, "3": 1})
    assert two["distance"]["max"] == 0.0, "the distance of a reset that gave up is not a distance of a start"
    assert (two["shortcuts"], two["rejected_starts"], two["did"]) == (1, 4, {"extractions": 2})
    whole = found["all"]
    assert (whole["n"], whole["successes"]) == (22, 21)
    assert 0 < whole["wilson_low"] < 21 / 22 < whole["wilson_high"] < 1
    assert spread([]) == {"mean": None, "median": None, "p95": None, "max": None}


def test_a_parked_station_until_a_person_came() -> None:
    back = Event(
        event_id="u", kind="station_unparked", station="robot-2", wall_s=START_S + 600, data={"note": "pin found"}
    )
    rows = parked([gave_up("robot-2", START_S), back, gave_up("robot-1", START_S + 700)])
    assert [(row["station"], row["until_wall_s"], row["note"]) for row in rows] == [
        ("robot-2", START_S + 600, "pin found"),
        ("robot-1", None, ""),
    ]


def test_the_page_shows_resets_and_who_waits_for_a_person() -> None:
    made = SyntheticCampaign(CampaignSpec(budget_s=300), seed=3, gives_up_at=60)
    made.run()
    events = [*made.events, gave_up("robot-2", START_S + 100)]
    found = figures(made.spec, events)["resets"]
    assert found["all"]["n"] == found["all"]["successes"] + 1 == made.state.episodes + 1
    html = render(made.spec, events)
    section = html.partition("How episodes began")[2].partition("</section>")[0]
    assert "Parked stations" in section
    assert "pin dropped" in section
    assert "still parked" in section
    assert "robot-2 gave up" in section
    assert 'alt="before top"' in section
    from data.campaign_state import CampaignState

    lines = attention(CampaignState.from_events(made.spec, events), events, "")
    assert "robot-2 is parked and waits for a person: pin dropped. Then: nightlab unpark robot-2" in lines


def test_pictures_of_the_reset_that_took_the_most_attempts(tmp_path: Path) -> None:
    lab = scripted_lab(tmp_path / "lab")
    easy = record(1, frames=("before top",), attempts=1)
    hard = record(2, frames=("before top", "after top"), attempts=3, duration_s=41.0)
    arrays = scripted_arrays(5)
    arrays = type(arrays)(**{**{f: getattr(arrays, f) for f in arrays.__slots__}, "reset_jpeg": [b"one", b"two"]})
    (lab.spool_dir / f"{hard.key.text()}.episode").write_bytes(pack(hard, arrays))
    (shown,) = reset_pictures(lab, [], [easy, hard])
    assert (shown.title, shown.note) == ("A reset of robot-1", "3 attempts, 41 s")
    assert [label for label, _ in shown.pictures] == ["before top", "after top"]
    folder = lab.rollouts_dir / easy.key.iteration / "robot-1" / "judged" / easy.key.text()
    folder.mkdir(parents=True)
    (folder / reset_file("before top")).write_bytes(b"kept")
    assert read_reset_jpeg(lab, easy) == [("before top", b"kept")]
    assert reset_pictures(lab, [], [scripted_record(5)]) == []
