"""`records/I17.json` and the commit message beside it: an iteration's story, a pure function of the ledger."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data.station_order import in_order
from data.statistics import wilson
from nightlab.records import Event, Outcome


@dataclass(frozen=True, slots=True)
class RecordFile:
    """One iteration as it is committed."""

    iteration: str
    text: str
    """Content of the file, JSON."""
    message: str
    kept: str
    """Idea whose commit is merged with the record; empty if none was kept."""


def make_record(iteration: str, events: Sequence[Event], *, idea: dict[str, Any] | None, baseline: bool) -> RecordFile:
    """The record of an iteration from its events.

    Args:
        iteration: `I17`, `E3`, `I17.r1`.
        events: all events of the iteration, in ledger order.
        idea: the idea that it is about, as committed; None if nothing was.
        baseline: True for the campaign's first idea, which counts as kept.
    """
    by_kind: dict[str, list[Event]] = {}
    for event in events:
        by_kind.setdefault(event.kind, []).append(event)
    judged = by_kind["judged"][-1].data if "judged" in by_kind else None
    ended = by_kind.get("iteration_ended", [])
    work = by_kind["work_claimed"][0].data if "work_claimed" in by_kind else None
    episodes = [event.data for event in by_kind.get("episode", ())]
    status = ended[-1].data if ended else {"status": "stopped", "detail": "never ended"}
    kept = bool(idea) and (baseline or bool(judged and judged["decision"] == "keep"))
    content = {
        "iteration": iteration,
        "campaign": next((event.campaign for event in events if event.campaign), ""),
        "stations": in_order(event.station for event in events if event.station),
        "status": status["status"],
        "detail": status.get("detail", ""),
        "idea": idea,
        "work": work,
        "checkpoint": by_kind["checkpoint"][-1].data if "checkpoint" in by_kind else None,
        "judgement": judged,
        "counts": counts(episodes),
        "stages": [
            {"stage": e.data.get("stage"), "what": e.kind, "station": e.station, "wall_s": e.data.get("wall_s")}
            for e in events
            if e.kind in ("stage_finished", "stage_failed")
        ],
        "tokens": [event.data for event in by_kind.get("usage", ())],
        "shards": [event.data for event in by_kind.get("shard", ())],
        "episodes": [_brief(data) for data in episodes],
    }
    return RecordFile(
        iteration=iteration,
        text=json.dumps(content, indent=1, sort_keys=True) + "\n",
        message=_message(content),
        kept=str(idea["idea"]) if kept and idea else "",
    )


def counts(episodes: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Episodes and successes per idea and pool, with the Wilson interval of the rate; `n` leaves UNSCORED out."""
    found: dict[str, Counter[str]] = {}
    for data in episodes:
        name = f"{data['key']['idea']} {data['key']['pool']}"
        found.setdefault(name, Counter())[data["verdict"]["outcome"]] += 1
    table = {}
    for name, outcomes in found.items():
        unscored = outcomes[Outcome.UNSCORED.value]
        n, good = outcomes.total() - unscored, outcomes[Outcome.SUCCESS.value]
        low, high = wilson(good, n)
        table[name] = {"n": n, "successes": good, "unscored": unscored, "wilson_low": low, "wilson_high": high}
    return table


def _brief(data: dict[str, Any]) -> dict[str, Any]:
    key, verdict = data["key"], data["verdict"]
    return {
        "station": key["station"], "idea": key["idea"], "pool": key["pool"], "seed": key["seed"],
        "attempt": key["attempt"], "outcome": verdict["outcome"], "score": verdict["score"],
        "reason": verdict["reason"], "steps": data["steps"], "end": data["end"],
        "policy_sha256": data["policy_sha256"], "manifest_sha256": data["manifest_sha256"],
    }  # fmt: skip


def _message(content: dict[str, Any]) -> str:
    """Subject: what came out. Body: what was tried, what was measured, what was decided."""
    iteration, idea, judged = content["iteration"], content["idea"], content["judgement"]
    hypothesis = " ".join(idea["proposal"]["hypothesis"].split()) if idea else ""
    rates = [
        f"{name}: {row['successes']} of {row['n']} succeed ({row['wilson_low']:.2f} – {row['wilson_high']:.2f})"
        + (f", {row['unscored']} unscored" if row["unscored"] else "")
        for name, row in content["counts"].items()
    ]
    short = "; ".join(f"{name} {row['successes']}/{row['n']}" for name, row in content["counts"].items())
    if judged:
        subject = f"{iteration} {judged['decision'].upper()}: {hypothesis}"
    elif content["status"] == "evaluated":
        subject = f"{iteration} measured: {short or 'nothing'}"
    else:
        subject = f"{iteration} {content['status'].upper()}: {content['detail'] or hypothesis}"
    lines = [_cut(" ".join(subject.split()), 100), ""]
    lines += [f"Tried: {hypothesis}"] if hypothesis else []
    lines += [f"Result: {rate}" for rate in rates]
    if judged:
        lines.append(f"Decision: {judged['decision'].upper()} against {judged['against']}; {judged['reason']}")
    elif content["detail"]:
        lines.append(f"Detail: {_cut(' '.join(content['detail'].split()), 300)}")
    lines.append(f"Robots: {', '.join(content['stations']) or 'none'}; episodes: {len(content['episodes'])}")
    return "\n".join(lines) + "\n"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
