"""What the report page shows: the figures of a campaign turned into charts, tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from data import plots, tree
from data.attribution import allowed, attribution
from data.campaign_state import CampaignState
from data.idea_state import IdeaState
from data.metrics import measure
from data.pairs import Result
from data.pictures import Failure, best_film, failures, reset_pictures
from data.report_data import headline, measures
from data.report_integrity import integrity
from data.resets import resets
from data.spans import SHARES
from data.station_order import in_order
from data.statistics import rate
from nightlab.records import CampaignSpec, Decision, EpisodeRecord, Event, Judgement, Outcome, Rate, SeedPool, WorkKind

if TYPE_CHECKING:
    from data.lab import Lab

KIND_CSS = {
    WorkKind.BASELINE: "baseline",
    WorkKind.SEARCH: "search",
    WorkKind.REEVALUATE: "reevaluate",
    WorkKind.HELD_OUT: "held-out",
}
SPLIT_WORDS = {"think": "wait: think", "train": "wait: train", "lease": "wait: hand-over", "other": "wait: other"}


def page(spec: CampaignSpec, events: Sequence[Event], lab: Lab | None = None) -> dict[str, Any]:
    """Everything the template needs. Without a lab there are no pictures, and the tree comes from the ledger's copy."""
    state = CampaignState.from_events(spec, events)
    episodes = [EpisodeRecord.model_validate(event.data) for event in events if event.kind == "episode"]
    metrics = measure(spec, events)
    ideas = tree.nodes(lab, state)
    told = {node.idea: node.told for node in ideas}
    film = best_film(lab, state) if lab is not None else None
    looked: list[Failure] = failures(lab, state, episodes) if lab is not None else []
    brought = resets(spec.environment, events, episodes)
    return {
        "f": {**headline(state), **measures(metrics)},
        "latest": datetime.fromtimestamp(state.now_s, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "success_svg": _success(state, spec, episodes, told, metrics.wall_s),
        "gains_svg": plots.gains(gain_rows(state, told)) if len(state.kept) > 1 else "",
        "tree_svg": tree.draw_svg(ideas) if ideas else "",
        "timeline_svg": plots.timeline(_timeline(state, episodes), metrics.wall_s) if episodes else "",
        "split_svg": plots.split_bar([(name, metrics.split[name]) for name in SHARES]),
        "split": [(name, SPLIT_WORDS.get(name, name), metrics.split[name]) for name in SHARES],
        "ideas": [_idea_row(state, idea, told) for idea in state.ideas.values() if idea.idea != state.baseline],
        "draws": [
            {
                "number": d.number,
                "idea": d.idea,
                "rate": d.rate,
                "planned_n": d.planned_n,
                "passed": d.passed,
                "complete": d.complete,
                "futile": d.futile,
                "final": d.final,
            }
            for d in state.draws.values()
        ],
        "film": film,
        "failures": looked,
        "causes": attribution(state, events, episodes),
        "allowed": allowed,
        "resets": brought,
        "reset_pictures": reset_pictures(lab, events, episodes),
        "parked": [parked_row(row, state.started_s) for row in brought["parked"]],
        "attention": attention(state, events, metrics.mru_reason),
        "integrity": integrity(state, events, episodes),
        "clock": plots.clock,
    }


def gain_rows(state: CampaignState, told: dict[str, str]) -> list[plots.Gain]:
    """One row per kept idea: success on the paired seeds before and after, or the score while nothing succeeded."""
    rows = []
    for name in state.kept[1:]:
        judgement = state.ideas[name].judgement
        if judgement is None:
            continue
        new, old = judgement.candidate, judgement.incumbent
        succeeded = new.successes + old.successes > 0
        before, after = (
            (old.successes / max(old.n, 1), new.successes / max(new.n, 1))
            if succeeded
            else (old.mean_score or 0.0, new.mean_score or 0.0)
        )
        rows.append(plots.Gain(name, told.get(name, ""), before, after, "success" if succeeded else "mean score"))
    return rows


def attention(state: CampaignState, events: Sequence[Event], mru_reason: str) -> list[str]:
    """What a person should look at in the morning."""
    lines = []
    if mru_reason:
        lines.append(f"Utilisation is not stated: {mru_reason}.")
    for kind, words in (("tamper", "Frozen files were changed"), ("estop", "An e-stop was pressed")):
        found = [event for event in events if event.kind == kind]
        if found:
            lines.append(f"{words} ({len(found)}×): {found[-1].data.get('reason', '')}".rstrip(": "))
    for station, why in state.parked.items():
        lines.append(f"{station} is parked and waits for a person: {why}. Then: nightlab unpark {station}")
    faults = [event for event in events if event.kind == "station_fault"]
    hit = sum(bool(event.iteration) for event in faults)
    if hit:
        lines.append(f"{hit} station faults; the episodes they hit were run again.")
    lines += [f"{event.station} stood idle: {event.data.get('reason', '')}." for event in faults if not event.iteration]
    if state.unscored:
        lines.append(f"{state.unscored} episodes are unscored and in no rate; their seeds were run again.")
    bad = [idea.idea for idea in state.ideas.values() if idea.status.value in ("crashed", "rejected", "invalid")]
    if bad:
        lines.append(f"{len(bad)} ideas crashed or broke the policy's contract: {', '.join(bad[:8])}.")
    changed = [e.iteration for e in events if e.kind == "verdict_audit" and e.data.get("changed")]
    if changed:
        lines.append(f"The frozen verifier contradicts stored verdicts in {', '.join(changed)}.")
    return lines


def parked_row(row: dict[str, Any], started_s: float) -> dict[str, Any]:
    """One time that a station was parked, with clocks that count from the campaign's start."""
    until_s = row["until_wall_s"]
    return {
        **row,
        "at": plots.clock(row["from_wall_s"] - started_s),
        "lasted": "still parked" if until_s is None else plots.clock(until_s - row["from_wall_s"]),
    }


def unbiased_rate(state: CampaignState, episodes: Sequence[EpisodeRecord], idea: str) -> Rate:
    """Success rate of an idea without the search episodes it was chosen by; with them if others are few."""
    others = [
        Result.of(episode)
        for episode in episodes
        if episode.key.idea == idea
        and episode.verdict.outcome is not Outcome.UNSCORED
        and (
            episode.key.pool is SeedPool.CONFIRM
            or (episode.key.pool is SeedPool.SEARCH and episode.key.iteration != idea)
        )
    ]
    return rate(others) if len(others) >= 5 and idea != state.baseline else state.rate(idea)


def _success(
    state: CampaignState, spec: CampaignSpec, episodes: Sequence[EpisodeRecord], told: dict[str, str], span_s: float
) -> str:
    """The chart of success over time."""
    start_s = state.started_s
    incumbents, scores = [], []
    for number, name in enumerate(state.kept):
        idea = state.ideas[name]
        measured = unbiased_rate(state, episodes, name)
        if not measured.n:
            continue
        at_s = idea.judged_s - start_s if number else 0.0
        incumbents.append(_point(at_s, measured, name, _tip(name, told, measured)))
        scores.append((at_s, measured.mean_score or 0.0))
    tried = [
        _point(
            idea.judged_s - start_s,
            idea.judgement.candidate,
            "",
            _judged_tip(idea, told),
            idea.judgement.decision.value,
        )
        for idea in state.ideas.values()
        if idea.judgement is not None and idea.decision is not Decision.KEEP
    ]
    held = []
    for draw in state.draws.values():
        if draw.results:
            result = f"{draw.rate.successes}/{draw.rate.n}"
            tip = f"held-out draw {draw.number} of {draw.idea}: {result}"
            held.append(_point(span_s, draw.rate, f"held out {result}", tip, "held-out"))
    return plots.success_over_time(incumbents, tried, held[-1:], scores, spec.target, span_s)


def _point(at_s: float, measured: Rate, label: str, tip: str, css: str = "incumbent") -> plots.Point:
    share = measured.successes / max(measured.n, 1)
    return plots.Point(at_s, share, measured.wilson_low, measured.wilson_high, label, tip, css)


def _judged_tip(idea: IdeaState, told: dict[str, str]) -> str:
    assert idea.judgement is not None
    return f"{_tip(idea.idea, told, idea.judgement.candidate)}\n{idea.judgement.reason}"


def _tip(name: str, told: dict[str, str], rate: Rate) -> str:
    interval = f"{rate.wilson_low:.0%} – {rate.wilson_high:.0%}"
    return f"{name}: {told.get(name, '')}\n{rate.successes} of {rate.n}, 95 % {interval}"


def _timeline(state: CampaignState, episodes: Sequence[EpisodeRecord]) -> list[tuple[str, list[plots.Bar]]]:
    """Per station, one bar per uninterrupted run of episodes of an iteration."""
    kinds = {(work.work.iteration, work.work.station): work.work.kind for work in state.works.values()}
    rows: dict[str, list[plots.Bar]] = {name: [] for name in in_order(episode.key.station for episode in episodes)}
    running: dict[str, tuple[str, float, float, list[EpisodeRecord]]] = {}

    def close(station: str) -> None:
        iteration, begin_s, end_s, mine = running.pop(station)
        kind = kinds.get((iteration, station), WorkKind.SEARCH)
        won = sum(episode.verdict.outcome is Outcome.SUCCESS for episode in mine)
        tip = f"{iteration}: {kind.value.replace('_', ' ')}, {won} of {len(mine)} episodes succeeded"
        rows[station].append(plots.Bar(begin_s - state.started_s, end_s - state.started_s, KIND_CSS.get(kind, ""), tip))

    for episode in sorted(episodes, key=lambda episode: episode.reset_begin.wall_s):
        station, iteration = episode.key.station, episode.key.iteration
        begin_s, end_s = episode.reset_begin.wall_s, episode.rollout_end.wall_s
        before = running.get(station)
        if before is not None and (before[0] != iteration or begin_s - before[2] > 1.0):
            close(station)
            before = None
        if before is None:
            running[station] = (iteration, begin_s, end_s, [episode])
        else:
            running[station] = (iteration, before[1], max(before[2], end_s), [*before[3], episode])
    for station in list(running):
        close(station)
    return list(rows.items())


def _idea_row(state: CampaignState, idea: IdeaState, told: dict[str, str]) -> dict[str, Any]:
    """One row of the table of ideas."""
    judgement: Judgement | None = idea.judgement
    proposal = idea.proposal
    return {
        "idea": idea.idea,
        "parent": idea.parent or "",
        "told": told.get(idea.idea, ""),
        "falsified_if": proposal.falsified_if if proposal else "",
        "word": idea.decision.value if idea.decision else idea.status.value,
        "reason": judgement.reason if judgement else idea.detail,
        "candidate": judgement.candidate if judgement else None,
        "incumbent": judgement.incumbent if judgement else None,
        "against": judgement.against if judgement else "",
        "pairs": (judgement.wins, judgement.losses, judgement.pairs - judgement.wins - judgement.losses)
        if judgement
        else None,
        "failures": sorted(judgement.failures.items(), key=lambda item: -item[1]) if judgement else [],
        "sources": proposal.sources if proposal else (),
        "inspired_by": proposal.inspired_by if proposal else (),
        "researcher": proposal.researcher if proposal else "",
        "kept": idea.decision is Decision.KEEP,
        "n_held_out": sum(len(d.results) for d in state.draws.values() if d.idea == idea.idea),
        "pools": [pool.value for pool in SeedPool],
    }
