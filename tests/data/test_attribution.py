"""Failure attribution: reasons and failed predicates with values and ranges, from the ledger alone."""

from __future__ import annotations

import pytest

from data.attribution import allowed, attribution, cause, failed_predicates
from data.campaign_state import CampaignState
from data.report import render
from data.report_data import figures
from data.synthetic import SyntheticCampaign
from data.testing import scripted_record
from nightlab.records import CampaignSpec, EpisodeRecord, Event, Outcome, Predicate


def depth(value: float | None, *, passed: bool = False) -> Predicate:
    return Predicate(name="depth", value=value, low=0.015, passed=passed, unit="m")


def failed(seed: int, *predicates: Predicate, reason: str = "too_shallow", cameras: str = "") -> EpisodeRecord:
    record = scripted_record(seed, outcome=Outcome.FAILURE, reason=reason)
    agree = {"top": "failure", "side": cameras or "failure"}
    verdict = record.verdict.model_copy(update={"predicates": predicates, "cameras": agree})
    return record.model_copy(update={"verdict": verdict})


def test_failed_predicates_have_their_range_and_the_values_they_had() -> None:
    force = Predicate(name="peak_force", value=55.0, high=40.0, passed=False, unit="N")
    episodes = [failed(n, depth(0.002 * n), *([force] if n == 3 else [])) for n in range(1, 6)]
    episodes += [failed(6, depth(None)), scripted_record(7)]
    deep, pressed = failed_predicates(episodes)
    assert (deep["name"], deep["failed"], deep["n"], deep["unknown"]) == ("depth", 6, 6, 1)
    assert (deep["low"], deep["high"], deep["unit"]) == (0.015, None, "m")
    assert (deep["least"], deep["median"], deep["most"]) == pytest.approx((0.002, 0.006, 0.010))
    assert (pressed["name"], pressed["failed"], pressed["median"]) == ("peak_force", 1, 55.0)
    assert failed_predicates([scripted_record(1)]) == []


def test_ranges_in_words() -> None:
    assert allowed(0.015, None, "m") == "≥ 0.015 m"
    assert allowed(None, 40.0, "N") == "≤ 40 N"
    assert allowed(0.0, 30.0, "px") == "0 … 30 px"
    assert allowed(None, None, "") == "–"


def test_a_policy_fault_is_one_reason_whatever_it_said() -> None:
    assert cause(failed(1, reason="policy_fault: ValueError: 7 is no number")) == "policy_fault"
    assert cause(failed(1, reason="near_miss")) == "near_miss"


@pytest.fixture(scope="module")
def campaign() -> SyntheticCampaign:
    made = SyntheticCampaign(CampaignSpec(budget_s=400), seed=6, insight=4, gives_up_at=80)
    made.run()
    return made


def test_kept_ideas_stand_side_by_side(campaign: SyntheticCampaign) -> None:
    found = figures(campaign.spec, campaign.events)["failures"]
    assert [one["idea"] for one in found["ideas"]] == campaign.state.kept
    first = found["ideas"][0]
    assert first["failed"] == sum(first["reasons"].values()) > 0
    assert first["n"] >= first["failed"]
    assert sum(row["count"] for row in found["reasons"]) == sum(one["failed"] for one in found["ideas"])
    known = {row["reason"]: row["meaning"] for row in found["reasons"]}
    assert known["missed_goal"] == "wrong place and wrong angle", "the meaning comes from the environment's card"


def test_invalid_iterations_are_left_out(campaign: SyntheticCampaign) -> None:
    baseline = campaign.state.kept[0]
    own = [EpisodeRecord.model_validate(e.data) for e in campaign.events if e.kind == "episode"]
    first = next(e.key.iteration for e in own if e.key.idea == baseline)
    ended = Event(event_id="x", kind="iteration_ended", iteration=first, wall_s=1.0, data={"status": "invalid"})
    state = CampaignState.from_events(campaign.spec, campaign.events)
    before = attribution(state, campaign.events, own)["ideas"][0]["n"]
    after = attribution(state, [*campaign.events, ended], own)["ideas"][0]["n"]
    assert after == before - sum(e.key.iteration == first and e.key.idea == baseline for e in own)


def test_the_page_shows_reasons_predicates_values_and_ranges(campaign: SyntheticCampaign) -> None:
    best = campaign.state.best
    told = []
    for event in campaign.events:
        if event.kind == "episode" and event.data["key"]["idea"] == best:
            record = EpisodeRecord.model_validate(event.data)
            verdict = record.verdict.model_copy(
                update={"outcome": Outcome.FAILURE, "reason": "near_miss", "predicates": (depth(0.0123),)}
            )
            event = event.model_copy(
                update={"data": record.model_copy(update={"verdict": verdict}).model_dump(mode="json")}
            )
        told.append(event)
    html = render(campaign.spec, told)
    assert "Why episodes failed" in html
    assert "coverage in [0.90, 0.95)" in html
    section = html.partition("Which predicates did not hold")[2].partition("</section>")[0]
    assert f"scored episodes of {best};" in section
    assert "≥ 0.015 m" in section
    assert "0.0123" in section
