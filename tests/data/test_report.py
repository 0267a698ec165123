from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from data.ledger import SqliteLedger
from data.pictures import small_jpeg
from data.report import percent, render, write_report
from data.report_data import figures, report
from data.report_page import attention, gain_rows, page
from data.synthetic import START_S, SyntheticCampaign
from nightlab.errors import UsageError
from nightlab.records import CampaignSpec, Event

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Structure(HTMLParser):
    """Checks that every element is closed, and remembers what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problems: list[str] = []
        self.seen: dict[str, int] = {}
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and not (value or "").startswith(("data:", "#")):
                self.outside.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")


def structure(html: str) -> Structure:
    parser = Structure()
    parser.feed(html)
    parser.close()
    assert parser.problems == []
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def campaign() -> SyntheticCampaign:
    made = SyntheticCampaign(CampaignSpec(budget_s=900), seed=6, insight=4, gives_up_at=150, unscored_share=0.01)
    made.run()
    return made


@pytest.fixture(scope="module")
def html(campaign: SyntheticCampaign) -> str:
    return render(campaign.spec, campaign.events)


def test_the_figures_have_every_field_of_the_contract(campaign: SyntheticCampaign) -> None:
    found = figures(campaign.spec, campaign.events)
    fields = (
        "campaign environment profile stations speed wall_s station_s episodes iterations kept reverted inconclusive "
        "baseline best held_out unscored mru mru_rollout useful_share tokens solved"
    )
    assert set(fields.split()) <= set(found)
    for rate in ("baseline", "best", "held_out"):
        assert {"n", "successes", "wilson_low", "wilson_high"} <= set(found[rate])
    assert found["best"]["idea"] == campaign.state.incumbent
    assert found["held_out"]["draws"] == len(campaign.state.draws)
    assert found["kept"] == len(campaign.state.kept) - 1
    assert found["iterations"] >= found["kept"] + found["reverted"] + found["inconclusive"]
    assert found["episodes"] == campaign.state.episodes


def test_solved_means_that_the_held_out_interval_reaches_the_target(campaign: SyntheticCampaign) -> None:
    found = figures(campaign.spec, campaign.events)
    reached = found["held_out"]["complete"] and found["held_out"]["wilson_low"] >= campaign.spec.target
    assert found["solved"] == reached


def test_the_page_is_well_formed_and_loads_nothing_from_elsewhere(html: str) -> None:
    seen = structure(html)
    assert seen.outside == []
    assert "script" not in seen.seen
    assert "http" not in re.sub(r'xmlns="[^"]*"', "", html)
    assert seen.seen["svg"] == 5


def test_the_page_tells_every_idea_with_decision_and_sources(campaign: SyntheticCampaign, html: str) -> None:
    for idea in campaign.state.ideas.values():
        assert f"<b>{idea.idea}</b>" in html or idea.idea == "I0"
    assert "prefers-color-scheme: dark" in html
    assert "mason2001" in html
    assert "held out" in html
    assert f">{campaign.state.kept[1]}<" in html


def test_text_of_researchers_is_escaped() -> None:
    made = SyntheticCampaign(CampaignSpec(budget_s=200), seed=1)
    events = made.run()
    bad = '<script>alert(1)</script> & "quoted"'
    poisoned = []
    for event in events:
        data = event.data
        if event.kind == "idea_committed":
            data = data | {"proposal": data["proposal"] | {"hypothesis": bad, "falsified_if": bad}}
        poisoned.append(event.model_copy(update={"data": data}))
    text = render(made.spec, poisoned)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    structure(text)


def test_a_campaign_that_has_just_begun_has_a_page_too() -> None:
    spec = CampaignSpec(campaign="C1")
    started = Event(
        event_id="a", kind="campaign_started", campaign="C1", wall_s=START_S, data=spec.model_dump(mode="json")
    )
    text = render(spec, [started])
    structure(text)
    assert "nothing measured yet" in text
    assert "No idea has been tried yet." in text
    assert f"not ended; latest event {datetime.fromtimestamp(START_S, UTC):%Y-%m-%d %H:%M} UTC" in text
    assert figures(spec, [started])["held_out"]["n"] == 0


def test_gains_show_scores_while_nothing_succeeds(campaign: SyntheticCampaign) -> None:
    rows = gain_rows(campaign.state, {})
    assert len(rows) == len(campaign.state.kept) - 1
    assert rows[0].what == "mean score"
    assert rows[-1].what == "success"
    assert all(row.after > row.before for row in rows)


def test_what_needs_a_person_is_said_first(campaign: SyntheticCampaign) -> None:
    tampered = Event(event_id="t", kind="tamper", campaign="C1", wall_s=START_S, data={"reason": "verify.py differs"})
    fault = Event(event_id="f", kind="station_fault", campaign="C1", iteration="I1", station="robot-1", wall_s=START_S)
    idle = Event(
        event_id="g", kind="station_fault", campaign="C1", station="robot-2", wall_s=START_S,
        data={"reason": "its station flow ended Crashed 5 times in a row"},
    )  # fmt: skip
    lines = attention(campaign.state, [tampered, fault, idle], "no episodes")
    assert lines[0] == "Utilisation is not stated: no episodes."
    assert "Frozen files were changed (1×): verify.py differs" in lines
    assert "1 station faults; the episodes they hit were run again." in lines
    assert "robot-2 stood idle: its station flow ended Crashed 5 times in a row." in lines
    assert any("episodes are unscored" in line for line in lines)


def test_the_chart_leaves_out_the_episodes_an_idea_was_chosen_by(campaign: SyntheticCampaign) -> None:
    assert page(campaign.spec, campaign.events)["f"]["best"]["n"] < campaign.state.rate(campaign.state.incumbent).n


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.934, "93 %"), (0.9999, "99.99 %"), (1.0, "100 %"), (0.0, "0 %"), (0.0042, "0.4 %")],
)
def test_percentages_never_round_up_to_certainty(value: float | None, text: str) -> None:
    assert percent(value) == text.replace(" ", "\u00a0")


def test_frames_become_small_jpegs() -> None:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (512, 512), (10, 200, 30)).save(out, "PNG")
    with Image.open(io.BytesIO(small_jpeg(out.getvalue()))) as picture:
        assert picture.size == (384, 384)
        assert picture.format == "JPEG"


def test_report_and_page_of_a_lab_come_from_its_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = SyntheticCampaign(CampaignSpec(budget_s=120), seed=1, gives_up_at=150)
    campaign.run()
    ledger = SqliteLedger(tmp_path / "ledger.db")
    for event in campaign.events:
        ledger.append(event)
    ledger.close()
    lab = SimpleNamespace(
        path=tmp_path, ledger_path=tmp_path / "ledger.db", reports_dir=tmp_path / "reports",
        rollouts_dir=tmp_path / "rollouts", spool_dir=tmp_path / "spool", judged_dirs=lambda key: [],
    )  # fmt: skip
    monkeypatch.setattr("data.tree.read_ideas", lambda path: [])
    assert report(lab, "C1") == figures(campaign.spec, campaign.events)  # type: ignore[arg-type]
    path = write_report(lab, "C1")  # type: ignore[arg-type]
    assert path == tmp_path / "reports" / "C1" / "report.html"
    structure(path.read_text())
    with pytest.raises(UsageError, match="unknown campaign 'C9'; there are: C1"):
        report(lab, "C9")  # type: ignore[arg-type]
