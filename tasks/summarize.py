"""Stage 7: the decision, the failure histogram, the record and the report. A pure function of the ledger: run again."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from data.campaign_state import CampaignState
from nightlab.records import IterationStatus, Judgement
from tasks.context import LabContext
from tasks.stage import stage

SHOWN_IDEAS = 50
"""Rows of the table of ideas in the Prefect UI."""
BREACHES = {
    "changed": "the frozen verifier contradicts stored verdicts",
    "foreign_manifest": "judged under another manifest than the campaign's",
    "forged": "ledger rows without the stored episode behind them",
    "foreign_policy": "episodes of another idea's checkpoint",
}
"""What the audit can find (see tasks/verify.py), in words; any of it makes an iteration INVALID."""


@stage("summarize", retry_delays_s=(1.0, 5.0))
async def summarize(
    lab: LabContext, campaign: str, iteration: str, *, station: str, decide: bool, audit: dict[str, Any]
) -> dict[str, Any]:
    """Verdicts, incumbent → decision (or just the measurement), record and ledger row."""
    broken = [f"{words}: {', '.join(audit[key][:3])}" for key, words in BREACHES.items() if audit.get(key)]
    if broken:
        detail = "; ".join(broken)
        await lab.keeper.end_iteration(campaign, iteration, IterationStatus.INVALID, detail)
        return {"status": IterationStatus.INVALID.value, "detail": detail}
    judgement: Judgement | None = None
    status, detail = IterationStatus.EVALUATED, ""
    if decide:
        judgement = await lab.keeper.judge(campaign, iteration)
        status, detail = IterationStatus.DECIDED, judgement.reason
    await lab.keeper.end_iteration(campaign, iteration, status, detail)
    state = lab.state(campaign)
    await acreate_markdown_artifact(
        key=f"iteration-{campaign}-{iteration}".lower().replace(".", "-"),
        markdown=_markdown(state, iteration, judgement),
        description=f"{iteration} of {campaign}",
    )
    if judgement is not None:
        rows, description = ideas_table(state)
        await acreate_table_artifact(key=f"ideas-{campaign}".lower(), table=rows, description=description)
    return {
        "status": status.value,
        "decision": judgement.decision.value if judgement else None,
        "reason": detail,
        "judgement": judgement.model_dump(mode="json") if judgement else None,
    }


def ideas_table(state: CampaignState) -> tuple[list[dict[str, Any]], str]:
    """The latest ideas as rows for the Prefect UI, and what they are. Prefect stores the whole table at each decision."""
    ideas = state.summaries()
    latest = ideas[-SHOWN_IDEAS:]
    rows = [
        {
            "idea": idea.idea, "family": idea.family, "hypothesis": idea.hypothesis,
            "decision": idea.decision.value if idea.decision else idea.status.value,
            "success": f"{idea.successes}/{idea.n}", "score": idea.mean_score, "steps": idea.mean_steps,
        }
        for idea in latest
    ]  # fmt: skip
    shown = f"the last {len(latest)} of {len(ideas)}" if len(ideas) > len(latest) else f"all {len(ideas)}"
    return rows, f"Ideas of {state.spec.campaign}, {shown}. Every idea: nightlab report, nightlab tree"


def _markdown(state: CampaignState, iteration: str, judgement: Judgement | None) -> str:
    """The iteration in a few lines, for the Prefect UI."""
    if judgement is None:
        return f"# {iteration}\n\nMeasured; no decision to take. Incumbent: {state.incumbent}."
    new, old = judgement.candidate, judgement.incumbent
    rows = "\n".join(
        f"| {name} | {rate.successes}/{rate.n} | {rate.wilson_low:.2f} – {rate.wilson_high:.2f} | {rate.mean_steps or 0:.0f} |"
        for name, rate in (("candidate", new), (f"incumbent {judgement.against}", old))
    )
    failures = ", ".join(f"{name} × {count}" for name, count in judgement.failures.items()) or "none"
    return (
        f"# {iteration}: {judgement.decision.value.upper()}\n\n{judgement.reason}\n\n"
        f"| | success | 95 % Wilson | steps |\n|---|---|---|---|\n{rows}\n\n"
        f"{judgement.wins} wins, {judgement.losses} losses in {judgement.pairs} pairs. Failures: {failures}.\n"
    )
