"""How good a version of a verifier is on a labelled set: agreement, precision, recall, latency, flicker, each camera alone.

A verdict agrees if SUCCESS meets the label success and FAILURE the label failure. UNSCORED agrees with neither: it is
counted apart and never enters precision or recall. Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from pydantic import Field

from data.statistics import wilson
from environments.workbench.judge import CandidateError, Judge, Judged
from environments.workbench.labelled import Item, ItemNote, LabelledSet
from nightlab.contracts import StoredEvidence, Values
from nightlab.records import Outcome, Record, Verdict


class CameraScores(Record):
    """One camera by itself."""

    n: int
    """Episodes in which it gave a verdict of its own."""
    unsure: int
    agreement: float | None
    false_positives: int
    false_negatives: int
    blinded: dict[str, int] = Field(default_factory=dict)
    """Outcomes of episodes labelled success when this camera's pictures are black; SUCCESS here is a fault."""


class Scores(Record):
    """A version on a labelled set."""

    environment: str
    version: str
    """sha256 of the version's manifest."""
    set_name: str
    split: str
    set_sha256: str
    n: int
    successes: int
    """Labels that say success."""
    agreement: float
    agreement_low: float
    agreement_high: float
    n_outside_band: int
    agreement_outside_band: float
    """Of the episodes whose value lies outside the set's guard band (labels given by a person all do)."""
    false_positives_outside_band: int
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    unscored: int
    broken: int
    """Episodes on which the version failed to give a verdict."""
    precision: float | None
    recall: float | None
    latency_p50_s: float
    latency_p95_s: float
    """Wall time of a verdict, frames decoded from PNG, in a sandbox of its own."""
    cpu_s_per_frame: float
    flicker: float | None = None
    """Share of neighbouring frames of a still scene that, each judged by itself, get different verdicts."""
    flicker_pairs: int = 0
    cameras: dict[str, CameraScores] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Miss:
    """An episode that a version got wrong."""

    note: ItemNote
    kind: str
    """`false_positive`, `false_negative`, `unscored` or `broken`."""
    said: str
    verdict: Verdict | None


async def score(
    judge: Judge, labelled: LabelledSet, *, flicker: bool = True, ablation: bool = True, seed: int = 0
) -> tuple[Scores, list[Miss]]:
    """Judge every item, in an order drawn from `seed`, so that a version cannot tell an item by its place."""
    order = list(labelled.index.items)
    random.Random(seed).shuffle(order)
    judged: list[tuple[ItemNote, Judged | None]] = []
    misses: list[Miss] = []
    frames = changes = pairs = 0
    blinded: dict[str, Counter[str]] = {}
    for note in order:
        item = labelled.item(note)
        result, why = await _try(judge, labelled.index.environment, item, item.evidence)
        judged.append((note, result))
        frames += len(item.evidence.frames_png)
        miss = _miss(note, result, why)
        misses += [miss] if miss else []
        if flicker:
            seen = [await _try(judge, labelled.index.environment, item, still) for still in stills(item.evidence)]
            words = [one.verdict.outcome.value if one else "broken" for one, _ in seen]
            changes += sum(a != b for a, b in itertools.pairwise(words))
            pairs += max(0, len(words) - 1)
        if ablation and note.success:
            for camera in dict.fromkeys(item.evidence.cameras):
                blind, _ = await _try(judge, labelled.index.environment, item, without_sight(item.evidence, camera))
                counter = blinded.setdefault(camera, Counter())
                counter[blind.verdict.outcome.value if blind else "broken"] += 1
    scores = _scores(judge, labelled, judged, frames)
    cameras = {
        name: CameraScores.model_validate({**_camera(name, judged), "blinded": dict(blinded.get(name, {}))})
        for name in sorted({camera for _, one in judged if one for camera in one.verdict.cameras} | set(blinded))
    }
    shake = changes / pairs if pairs else None
    return scores.model_copy(update={"flicker": shake, "flicker_pairs": pairs, "cameras": cameras}), misses


def stills(evidence: StoredEvidence) -> list[StoredEvidence]:
    """For each moment its pictures repeated over the whole episode: what a single look at the scene would say."""
    moments = _moments(evidence.cameras, len(evidence.frames_png))
    count = max((moment for _, moment in moments), default=-1) + 1
    out = []
    for at in range(count):
        picked = [_index(moments, camera, at) for camera, _ in moments]
        out.append(
            replace(
                evidence,
                frames_png=[evidence.frames_png[i] for i in picked],
                depths_png=[evidence.depths_png[i] for i in picked] if evidence.depths_png else [],
                observations=_repeated(evidence.observations, at, count),
            )
        )
    return out


def without_sight(evidence: StoredEvidence, camera: str) -> StoredEvidence:
    """The evidence with one camera's pictures black and its depth missing."""
    hit = [name == camera for name in (evidence.cameras or [""] * len(evidence.frames_png))]
    frames = [_black(png) if dark else png for png, dark in zip(evidence.frames_png, hit, strict=True)]
    depths = [b"" if dark else png for png, dark in zip(evidence.depths_png, hit, strict=False)]
    return replace(evidence, frames_png=frames, depths_png=depths if any(depths) else [])


def histogram(misses: Iterable[Miss]) -> dict[str, int]:
    """Misses by kind and what was said, most frequent first; no item is named."""
    return dict(Counter(f"{miss.kind}: {miss.said}"[:120] for miss in misses).most_common())


async def _try(judge: Judge, environment: str, item: Item, evidence: StoredEvidence) -> tuple[Judged | None, str]:
    try:
        return await judge.verify(environment, evidence, faults=item.faults, start=item.start), ""
    except CandidateError as error:
        return None, str(error)


def _miss(note: ItemNote, result: Judged | None, why: str) -> Miss | None:
    if result is None:
        return Miss(note, "broken", why, None)
    verdict = result.verdict
    if verdict.outcome is Outcome.UNSCORED:
        return Miss(note, "unscored", verdict.reason, verdict)
    if (verdict.outcome is Outcome.SUCCESS) == note.success:
        return None
    return Miss(note, "false_negative" if note.success else "false_positive", verdict.reason, verdict)


def _scores(
    judge: Judge, labelled: LabelledSet, judged: Sequence[tuple[ItemNote, Judged | None]], frames: int
) -> Scores:
    count: Counter[tuple[bool, str]] = Counter(
        (note.success, one.verdict.outcome.value if one else "broken") for note, one in judged
    )
    hit, lost = count[True, "success"], count[True, "failure"]
    right, false = count[False, "failure"], count[False, "success"]
    n = len(judged)
    low, high = wilson(hit + right, n)
    clear = [(note, one) for note, one in judged if not _inside(note, labelled.index.band)]
    clear_right = sum(_miss(note, one, "") is None for note, one in clear)
    walls = [one.wall_s for _, one in judged if one] or [0.0]
    return Scores(
        environment=labelled.index.environment,
        version=judge.version.sha256,
        set_name=labelled.index.name,
        split=labelled.index.split,
        set_sha256=labelled.index.sha256,
        n=n,
        successes=sum(note.success for note, _ in judged),
        agreement=(hit + right) / n if n else 0.0,
        agreement_low=low,
        agreement_high=high,
        n_outside_band=len(clear),
        agreement_outside_band=clear_right / len(clear) if clear else 0.0,
        false_positives_outside_band=sum(
            one is not None and one.verdict.outcome is Outcome.SUCCESS and not note.success for note, one in clear
        ),
        true_positives=hit,
        false_positives=false,
        true_negatives=right,
        false_negatives=lost,
        unscored=count[True, "unscored"] + count[False, "unscored"],
        broken=count[True, "broken"] + count[False, "broken"],
        precision=hit / (hit + false) if hit + false else None,
        recall=hit / (hit + lost) if hit + lost else None,
        latency_p50_s=float(np.percentile(walls, 50)),
        latency_p95_s=float(np.percentile(walls, 95)),
        cpu_s_per_frame=sum(one.cpu_s for _, one in judged if one) / frames if frames else 0.0,
    )


def _inside(note: ItemNote, band: tuple[float, float] | None) -> bool:
    return band is not None and note.value is not None and band[0] < note.value < band[1]


def _camera(name: str, judged: Sequence[tuple[ItemNote, Judged | None]]) -> dict[str, object]:
    said = [(note.success, one.verdict.cameras[name]) for note, one in judged if one and name in one.verdict.cameras]
    sure = [(label, word == "success") for label, word in said if word in ("success", "failure")]
    return {
        "n": len(said),
        "unsure": len(said) - len(sure),
        "agreement": sum(label == word for label, word in sure) / len(sure) if sure else None,
        "false_positives": sum(word and not label for label, word in sure),
        "false_negatives": sum(label and not word for label, word in sure),
    }


def _moments(cameras: Sequence[str], count: int) -> list[tuple[str, int]]:
    """(camera, number among that camera's frames) of each frame."""
    seen: Counter[str] = Counter()
    out = []
    for camera in cameras or [""] * count:
        out.append((camera, seen[camera]))
        seen[camera] += 1
    return out


def _index(moments: Sequence[tuple[str, int]], camera: str, at: int) -> int:
    """The frame of `camera` at moment `at`, or its last one before."""
    return max(i for i, (name, moment) in enumerate(moments) if name == camera and moment <= at)


def _repeated(observations: Sequence[Values], at: int, count: int) -> list[Values]:
    """The observation at moment `at`, as often as there are observations."""
    if not observations:
        return []
    index = min(at * len(observations) // max(1, count), len(observations) - 1)
    return [observations[index]] * len(observations)


def _black(png: bytes) -> bytes:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    return bytes(cv2.imencode(".png", np.zeros_like(picture))[1])
