"""`nightlab verifier label`: make a labelled set, from the simulator's ground truth or from recorded episodes.

nightlab verifier label push_t --n 400 --profile nominal            from the simulator, half development, half held-out
nightlab verifier label push_t --lab lab --campaign C1              pictures and a list for a person to fill in
nightlab verifier label push_t --lab lab --answers answers.csv      … and back
"""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightlab.errors import UsageError

if TYPE_CHECKING:
    from environments.workbench.labelled import LabelledSet, SetWriter, Split


def label(
    environment: Annotated[str, typer.Argument(help="Environment, e.g. push_t")],
    n: Annotated[int, typer.Option("--n", min=1, help="Episodes, over both halves")] = 400,
    set_name: Annotated[str, typer.Option("--set", help="Name of the labelled set")] = "sim",
    held_out: Annotated[float, typer.Option(min=0, max=1, help="Share that goes into the held-out half")] = 0.5,
    profile: Annotated[str, typer.Option(help="Profile of the simulated stations")] = "nominal",
    stations: Annotated[int, typer.Option(min=1, help="Simulated stations that the episodes are spread over")] = 4,
    seed: Annotated[int | None, typer.Option(help="For tests; default: secret, drawn anew")] = None,
    lab: Annotated[Path | None, typer.Option(help="Label recorded episodes of this lab instead")] = None,
    campaign: Annotated[str, typer.Option(help="With --lab: only this campaign")] = "",
    answers: Annotated[Path | None, typer.Option(help="With --lab: the filled-in list")] = None,
    sheet: Annotated[Path, typer.Option(help="With --lab: folder for pictures and the list")] = Path("label-sheet"),
) -> None:
    """Make a labelled set: a development half that researchers may see and a held-out half that only you can read."""
    if lab is not None:
        from commands.verifier_recorded import from_answers, write_sheet

        if answers is None:
            path, count = write_sheet(lab, environment, campaign, n, sheet)
            print(
                f"{count} episodes in {sheet}: look at the pictures, fill in {path.name}, then:\n  nightlab verifier "
                f"label {environment} --lab {lab} --set {set_name} --answers {path}"
            )
            return
        writers = _writers(environment, set_name, held_out, None)
        from_answers(lab, environment, answers, writers)
    else:
        from environments.exam import module
        from environments.workbench.staging import check

        check(environment)
        band = module(environment, "exam").BAND
        writers = _writers(environment, set_name, held_out, (float(band.low), float(band.high)))
        drawn = secrets.randbits(31) if seed is None else seed
        asyncio.run(_from_simulator(environment, n, held_out, profile, stations, drawn, writers))
    _report([writer.finish(time.time()) for writer in writers.values()])


def _writers(
    environment: str, set_name: str, held_out: float, band: tuple[float, float] | None
) -> dict[Split, SetWriter]:
    from environments.workbench.labelled import SetWriter, folder_of

    splits: list[Split] = [*(["development"] if held_out < 1 else []), *(["held_out"] if held_out > 0 else [])]  # type: ignore[list-item]
    return {
        split: SetWriter(folder_of(environment, set_name, split), environment, set_name, split, band)
        for split in splits
    }


async def _from_simulator(
    environment: str, n: int, held_out: float, profile: str, stations: int, seed: int, writers: dict[Split, SetWriter]
) -> None:
    from environments.workbench.staging import stage_episodes
    from nightlab.seeding import derive

    for split, writer in writers.items():
        count = round(n * held_out) if split == "held_out" else n - round(n * held_out)
        station_seeds = [derive("label", seed, split, number) for number in range(stations)]
        async for staged in stage_episodes(environment, profile, station_seeds, count, derive("label", seed, split)):
            writer.add(
                staged.stored,
                success=staged.success,
                value=staged.value,
                start=staged.start,
                faults=staged.faults,
                source=f"simulator {profile} station {staged.station_seed}",
            )


def _report(made: list[LabelledSet]) -> None:
    for one in made:
        labels = [note.success for note in one.index.items]
        if not labels:
            raise UsageError(f"no episode could be labelled for {one.folder}; see the messages above")
        print(
            f"{one.index.split}: {len(labels)} episodes, {sum(labels)} successes, {one.index.sha256[:12]} in {one.folder}"
        )
