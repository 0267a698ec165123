"""`nightlab run` in a lab whose last campaign did not end."""

from __future__ import annotations

import time

from commands.left_over import told_ignored, unfinished, why_over
from data.lab import Lab
from data.ledger import SqliteLedger
from data.synthetic import START_S
from nightlab.records import CampaignSpec, Event


def begun(lab: Lab, spec: CampaignSpec, wall_s: float) -> None:
    ledger = SqliteLedger(lab.ledger_path)
    ledger.append(
        Event(
            event_id=f"campaign_started:{spec.campaign}",
            kind="campaign_started",
            campaign=spec.campaign,
            wall_s=wall_s,
            data=spec.model_dump(mode="json"),
        )
    )
    ledger.close()


def test_a_campaign_whose_time_has_passed_is_not_continued(lab: Lab) -> None:
    spec = CampaignSpec(campaign="C1", budget_s=28_800)
    begun(lab, spec, START_S)
    assert unfinished(lab) == spec
    assert why_over(lab, spec) == "the budget of 28800 s is used up", "it began long ago"


def test_a_campaign_that_has_time_left_is_continued_and_says_what_it_ignores(lab: Lab) -> None:
    spec = CampaignSpec(campaign="C1", budget_s=28_800)
    begun(lab, spec, time.time() - 60)
    assert why_over(lab, spec) == ""
    asked = CampaignSpec(budget_s=600, researcher="scripted", manifest_sha256="x")
    assert told_ignored(spec, asked) == (
        ": it keeps its own researcher offline (asked: scripted), budget_s 28800.0 (asked: 600.0)"
    )
    assert told_ignored(spec, CampaignSpec(budget_s=28_800)) == ""
