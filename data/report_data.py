"""The figures of a campaign: what `nightlab report --json` prints, derived from the ledger alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data.attribution import attribution
from data.campaign_state import CampaignState
from data.ledger import LedgerReader
from data.metrics import Metrics, measure
from data.resets import resets
from nightlab.errors import UsageError
from nightlab.records import CampaignSpec, Decision, EpisodeRecord, Event, IterationStatus, Rate, WorkKind

if TYPE_CHECKING:
    from data.lab import Lab


def report(lab: Lab, campaign: str) -> dict[str, Any]:
    """The figures of a campaign of a lab.

    Raises:
        UsageError: the lab has no such campaign.
    """
    spec, events = read_campaign(lab, campaign)
    return figures(spec, events)


def read_campaign(lab: Lab, campaign: str) -> tuple[CampaignSpec, list[Event]]:
    """Settings and events of a campaign, in ledger order.

    Raises:
        UsageError: the lab has no such campaign.
    """
    with LedgerReader(lab.ledger_path) as ledger:
        started = {event.campaign: event for event in ledger.events(kind="campaign_started")}
        if campaign not in started:
            raise UsageError.unknown("campaign", campaign, started, f"nightlab status --lab {lab.path}")
        return CampaignSpec.model_validate(started[campaign].data), ledger.events(campaign=campaign)


def figures(spec: CampaignSpec, events: Sequence[Event]) -> dict[str, Any]:
    """The figures of a campaign from its events. Rates are dicts: n, successes, wilson_low, wilson_high and more."""
    state = CampaignState.from_events(spec, events)
    episodes = [EpisodeRecord.model_validate(event.data) for event in events if event.kind == "episode"]
    return {
        **headline(state),
        **measures(measure(spec, events)),
        "failures": attribution(state, events, episodes),
        "resets": resets(spec.environment, events, episodes),
    }


def headline(state: CampaignState) -> dict[str, Any]:
    """What was tried and what came out. `best` leaves out the search seeds that the idea was chosen by."""
    spec = state.spec
    ideas = [idea for idea in state.ideas.values() if idea.idea != state.baseline]
    held = state.held_out_of(state.best)
    decisions = {decision: sum(idea.decision is decision for idea in ideas) for decision in Decision}
    statuses = {status: sum(idea.status is status for idea in ideas) for status in IterationStatus}
    kinds = {kind: sum(work.ended and work.work.kind is kind for work in state.works.values()) for kind in WorkKind}
    fresh = state.fresh_rate(state.best)
    best = fresh if fresh.n and state.best != state.baseline else state.rate(state.best)
    empty = Rate(n=0, successes=0, wilson_low=0.0, wilson_high=1.0, wilson_low_unscored_as_failure=0.0)
    return {
        "campaign": spec.campaign,
        "environment": spec.environment,
        "profile": spec.profile,
        "stations": spec.stations,
        "speed": spec.speed,
        "researcher": spec.researcher,
        "seed": spec.seed,
        "target": spec.target,
        "budget_s": spec.budget_s,
        "ended": state.ended_reason is not None,
        "reason": state.stop_reason(),
        "solved": state.solved,
        "episodes": state.episodes,
        "unscored": state.unscored,
        "iterations": kinds[WorkKind.SEARCH],
        "evaluations": sum(kinds.values()) - kinds[WorkKind.SEARCH],
        "kept": decisions[Decision.KEEP],
        "reverted": decisions[Decision.REVERT],
        "inconclusive": decisions[Decision.INCONCLUSIVE],
        "crashed": statuses[IterationStatus.CRASHED],
        "rejected": statuses[IterationStatus.REJECTED],
        "invalid": statuses[IterationStatus.INVALID],
        "no_change": statuses[IterationStatus.NO_CHANGE],
        "stopped": statuses[IterationStatus.STOPPED],
        "baseline": {"idea": state.baseline, **rate_figures(state.rate(state.baseline))},
        "best": {"idea": state.best, **rate_figures(best)},
        "held_out": {
            "idea": held.idea if held else "",
            **rate_figures(held.rate if held else empty),
            "planned_n": held.planned_n if held else 0,
            "complete": bool(held and held.complete),
            "draws": len(state.draws),
        },
    }


def measures(metrics: Metrics) -> dict[str, Any]:
    """The measures, flat."""
    return {
        "wall_s": metrics.wall_s,
        "station_s": metrics.station_s,
        "mru": metrics.mru,
        "mru_rollout": metrics.mru_rollout,
        "mru_reason": metrics.mru_reason,
        "useful_share": metrics.useful_share,
        "achieved_speed": metrics.achieved_speed,
        "late_share": metrics.late_share,
        "split": metrics.split,
        "station_split": metrics.stations,
        "tokens": metrics.tokens.total,
        "token_use": metrics.tokens.model_dump(mode="json", exclude={"schema_version"}),
        "time_to_success_s": metrics.time_to_success_s,
        "robot_hours_to_success": metrics.robot_hours_to_success,
    }


def rate_figures(rate: Rate) -> dict[str, Any]:
    """A rate as plain numbers."""
    return rate.model_dump(mode="json", exclude={"schema_version"})
