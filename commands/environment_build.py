"""`nightlab environment build`: a researcher authors reset and verify on copies; a person freezes the result."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tasks.environment_build import Round


def build(
    environment: Annotated[str, typer.Argument(help="Environment, e.g. push_t")],
    researcher: Annotated[str, typer.Option(help="scripted:FILE.yaml or 'command:PROGRAM ARGS'")],
    rounds: Annotated[int, typer.Option(min=1, help="Proposals at most")] = 5,
    set_name: Annotated[str, typer.Option("--set", help="Labelled set; its development half is shown")] = "sim",
    resets: Annotated[int, typer.Option(min=0, help="Resets per candidate at a simulated station")] = 10,
    profile: Annotated[str, typer.Option(help="Profile of that station")] = "nominal",
    source: Annotated[
        Path | None, typer.Option("--from", help="Files to begin with; default: the environment's")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the build; default: builds/ENV")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the resets and of the researcher")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON")] = False,
) -> None:
    """Let a researcher write reset and verify, measured on the development set; freezing the result is yours."""
    from tasks.environment_build import BuildOrder, build

    order = BuildOrder(
        environment=environment,
        researcher=researcher,
        out=(out or Path("builds") / environment).absolute(),
        rounds=rounds,
        set_name=set_name,
        resets=resets,
        profile=profile,
        seed=seed,
        source=source,
    )
    report = asyncio.run(build(order, on_round=lambda made: typer.echo(_line(made), err=True)))
    if as_json:
        print(json.dumps(report))
        return
    print(f"best: {report['best']} in {report['folder']}\nfreeze it: {report['next']}")


def _line(made: Round) -> str:
    if made.score is None:
        return f"{made.idea} {made.status.value}: {made.detail}"
    verify, reset = made.score.verify, made.score.reset
    judged = made.score.verify_error or "not measured"
    if verify is not None:
        judged = (
            f"agreement {verify.agreement:.3f} of {verify.n}, {verify.false_positives} false positives, "
            f"{verify.false_negatives} false negatives"
        )
    moved = "" if reset is None else f"; resets {reset.successes}/{reset.n}"
    return f"{made.idea} {'KEEP' if made.kept else 'REVERT'} {judged}{moved}: {made.hypothesis}"
