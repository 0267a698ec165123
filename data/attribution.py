"""Why episodes failed: the verifier's reasons and the predicates that did not hold, with their values and ranges."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from data.campaign_state import CampaignState
from nightlab.cards import find
from nightlab.records import EpisodeRecord, Event, IterationStatus, Outcome, Predicate

IDEAS_SHOWN = 7
"""Columns of the table of reasons: the first kept idea and the latest ones."""
PREDICATES_SHOWN = 16
MEANINGS = {
    "policy_fault": "the policy raised an exception, broke its contract or did not answer in time",
    "safety_stop": "the station stopped the policy: an action out of bounds, or none for too long",
}
"""Reasons that any environment knows; the others are explained by its card."""


def attribution(state: CampaignState, events: Sequence[Event], episodes: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Failures of the kept ideas by reason, and the failed predicates of the best one (of all kept, if it has none).

    All scored episodes of all pools count, those of INVALID iterations excepted. JSON only.
    """
    invalid = {
        event.iteration
        for event in events
        if event.kind == "iteration_ended" and event.data.get("status") == IterationStatus.INVALID.value
    }
    scored = [
        episode
        for episode in episodes
        if episode.verdict.outcome is not Outcome.UNSCORED and episode.key.iteration not in invalid
    ]
    kept = state.kept if len(state.kept) <= IDEAS_SHOWN else [state.kept[0], *state.kept[1 - IDEAS_SHOWN :]]
    shown = [column(name, [episode for episode in scored if episode.key.idea == name]) for name in kept]
    total: Counter[str] = Counter()
    for one in shown:
        total.update(one["reasons"])
    best = next((one for one in shown if one["idea"] == state.best), None)
    whom = [state.best] if best is not None and best["failed"] else kept
    verdicts = [episode for episode in scored if episode.key.idea in whom]
    about = find(state.spec.environment)
    meanings = MEANINGS | ({name: kind.meaning for name, kind in about.failures.items()} if about is not None else {})
    return {
        "ideas": shown,
        "reasons": [
            {"reason": reason, "meaning": meanings.get(reason, ""), "count": count}
            for reason, count in total.most_common()
        ],
        "of": whom,
        "n": len(verdicts),
        "failed": sum(episode.verdict.outcome is Outcome.FAILURE for episode in verdicts),
        "predicates": failed_predicates(verdicts),
        "disagreements": sum(len(set(episode.verdict.cameras.values())) > 1 for episode in verdicts),
    }


def column(idea: str, episodes: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """One idea: scored episodes, failures, and how many of each reason."""
    reasons = Counter(cause(episode) for episode in episodes if episode.verdict.outcome is Outcome.FAILURE)
    return {"idea": idea, "n": len(episodes), "failed": reasons.total(), "reasons": dict(reasons.most_common())}


def cause(episode: EpisodeRecord) -> str:
    """The reason without its details: `policy_fault: ValueError …` is `policy_fault`."""
    return episode.verdict.reason.partition(":")[0].strip() or "failed"


def failed_predicates(episodes: Iterable[EpisodeRecord]) -> list[dict[str, Any]]:
    """Predicates that did not hold in a failed episode, most frequent first, with the values they had there."""
    found: dict[tuple[str, str], list[Predicate]] = {}
    asked: Counter[tuple[str, str]] = Counter()
    for episode in episodes:
        for predicate in episode.verdict.predicates:
            key = (predicate.name, predicate.unit)
            asked[key] += 1
            if not predicate.passed and episode.verdict.outcome is Outcome.FAILURE:
                found.setdefault(key, []).append(predicate)
    rows = []
    for key, failed in sorted(found.items(), key=lambda item: (-len(item[1]), item[0])):
        values = [predicate.value for predicate in failed if predicate.value is not None]
        lows, highs = ({getattr(p, side) for p in failed} for side in ("low", "high"))
        rows.append(
            {
                "name": key[0],
                "unit": key[1],
                "low": lows.pop() if len(lows) == 1 else None,
                "high": highs.pop() if len(highs) == 1 else None,
                "n": asked[key],
                "failed": len(failed),
                "unknown": len(failed) - len(values),
                "least": min(values, default=None),
                "median": statistics.median(values) if values else None,
                "most": max(values, default=None),
            }
        )
    return rows[:PREDICATES_SHOWN]


def allowed(low: float | None, high: float | None, unit: str) -> str:
    """A predicate's range in words: `≥ 0.95`, `< 40 N` as `≤ 40 N`, `0 … 30 px`."""
    tail = f" {unit}" if unit else ""
    if low is not None and high is not None:
        return f"{low:g} … {high:g}{tail}"
    if low is not None:
        return f"≥ {low:g}{tail}"
    return f"≤ {high:g}{tail}" if high is not None else "–"
