"""`nightlab verifier key` and `score`; its other verbs have files of their own (commands/verifier_*.py)."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from environments.workbench.scores import Miss, Scores


def key(
    show: Annotated[bool, typer.Option("--show", help="Print the public half of the key there is")] = False,
) -> None:
    """Create the operator's ed25519 key outside of every lab, or show its public half."""
    from environments import signing

    if show:
        print(signing.public_key())
        return
    public = signing.create_key()
    print(f"key {signing.key_path()} (keep it; mode 0600)\npublic {public}")


def score(
    environment: Annotated[str, typer.Argument(help="Environment, e.g. push_t")],
    set_name: Annotated[str, typer.Option("--set", help="Labelled set")] = "sim",
    split: Annotated[str, typer.Option(help="development or held_out")] = "held_out",
    version: Annotated[str, typer.Option(help="current, a manifest's sha256, or a build's folder")] = "current",
    misses: Annotated[bool, typer.Option(help="Name the episodes that were judged wrong")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON")] = False,
) -> None:
    """Measure a version of a verifier on a labelled set: precision, recall, latency, flicker, each camera alone."""
    scores, wrong = asyncio.run(score_version(environment, version, set_name, split))
    if as_json:
        named = [
            {"item": miss.note.item, "kind": miss.kind, "said": miss.said, "value": miss.note.value} for miss in wrong
        ]
        print(json.dumps({**scores.model_dump(mode="json"), **({"misses": named} if misses else {})}))
        return
    print(text(scores))
    for miss in wrong if misses else ():
        value = "" if miss.note.value is None else f", value {miss.note.value:.4f}"
        print(
            f"  {miss.kind} {miss.note.item}: {miss.said} (label {'success' if miss.note.success else 'failure'}{value})"
        )


async def score_version(environment: str, version: str, set_name: str, split: str) -> tuple[Scores, list[Miss]]:
    """Scores and misses of one version on one labelled set."""
    from environments.workbench.judge import Judge
    from environments.workbench.labelled import SPLITS, open_set
    from environments.workbench.scores import score as measure
    from environments.workbench.versions import find
    from nightlab.errors import UsageError

    if split not in SPLITS:
        raise UsageError.unknown("split", split, SPLITS, "--split held_out")
    labelled = open_set(environment, set_name, "development" if split == "development" else "held_out")
    with tempfile.TemporaryDirectory(prefix="nightlab-version-") as folder:
        async with Judge(find(environment, version, Path(folder))) as judge:
            return await measure(judge, labelled)


def text(scores: Scores) -> str:
    """Scores for a person."""
    precision, recall = (f"{part:.4f}" if part is not None else "–" for part in (scores.precision, scores.recall))
    lines = [
        f"{scores.environment} {scores.version[:12]} on {scores.set_name}/{scores.split}: n {scores.n}, "
        f"{scores.successes} successes",
        f"  agreement {scores.agreement:.4f} [{scores.agreement_low:.4f}, {scores.agreement_high:.4f}], precision "
        f"{precision}, recall {recall}; outside the guard band {scores.agreement_outside_band:.4f} of "
        f"{scores.n_outside_band}",
        f"  false positives {scores.false_positives}, false negatives {scores.false_negatives}, unscored "
        f"{scores.unscored}, broken {scores.broken}",
        f"  latency p50 {1e3 * scores.latency_p50_s:.1f} ms, p95 {1e3 * scores.latency_p95_s:.1f} ms; CPU "
        f"{1e3 * scores.cpu_s_per_frame:.1f} ms a frame",
    ]
    if scores.flicker is not None:
        lines.append(f"  flicker {scores.flicker:.4f} of {scores.flicker_pairs} pairs of frames")
    for name, camera in scores.cameras.items():
        agreement = "–" if camera.agreement is None else f"{camera.agreement:.4f}"
        lines.append(
            f"  camera {name or 'only one'} alone: agreement {agreement} (n {camera.n}, unsure {camera.unsure}), false "
            f"positives {camera.false_positives}, false negatives {camera.false_negatives}; blinded: {camera.blinded}"
        )
    return "\n".join(lines)
