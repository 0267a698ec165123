"""`nightlab simulate-fleet`: what a fleet of 1 to 64 robots would come to, from what its stages take. No robot moves."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from nightlab.errors import UsageError

SIZES = "1,2,4,8,16,32,64"


def simulate_fleet(
    preset: Annotated[str, typer.Option(help="published (one researcher per robot) or window (nightlab's way)")] = "",
    sizes: Annotated[str, typer.Option(help="Fleet sizes, 1 to 64")] = SIZES,
    think: Annotated[str, typer.Option(help="Think time: seconds or lognormal:MEDIAN_S:SIGMA")] = "",
    train_s: Annotated[float, typer.Option(help="Training, s")] = -1.0,
    trial_s: Annotated[float, typer.Option(help="Robot time of a trial, s")] = -1.0,
    trial_sigma: Annotated[float, typer.Option(help="Spread of its logarithm")] = 0.0,
    talk: Annotated[str, typer.Option(help="Coordination per idea by fleet size, s, e.g. 1:5,4:8,8:12")] = "",
    gap_s: Annotated[float, typer.Option(help="Between two trials on a robot, s")] = 0.0,
    episode_s: Annotated[float, typer.Option(help="One episode of filler work, s; 0 = none")] = 0.0,
    filler_useful: Annotated[float, typer.Option(help="Share of filler work that counts as useful, 0 to 1")] = 0.0,
    prepared_s: Annotated[str, typer.Option(help="Replay: what the first ideas took until ready, s: 812,1033")] = "",
    tried_s: Annotated[str, typer.Option(help="Replay: robot time of the first trials, s: 230,118")] = "",
    window: Annotated[int, typer.Option(help="Ideas prepared per robot; 0 = by the times, -1 = one by one")] = 0,
    horizon_s: Annotated[float, typer.Option(help="Measured time, s; 0 = 150 trials")] = 0.0,
    warm_up_s: Annotated[float, typer.Option(help="Left out before it, s; -1 = until every robot tries an idea")] = 0.0,
    runs: Annotated[int, typer.Option(help="Simulated fleets per size")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Predict robot utilisation, time to success and tokens by fleet size."""
    from agents.clock import parse_clock
    from data.fleet_model import PUBLISHED, PUBLISHED_MRU, forecast, speed_up_alpha

    times = {
        "": PUBLISHED, "published": PUBLISHED,
        "window": replace(PUBLISHED, window=0, episode_s=2.5),
    }.get(preset)  # fmt: skip
    if times is None:
        raise UsageError.unknown("preset", preset, ("published", "window"), "nightlab simulate-fleet")
    if not 0 <= filler_useful <= 1:
        raise UsageError(f"--filler-useful {filler_useful:g}: a share from 0 to 1. Try: --filler-useful 0.5")
    asked: dict[str, Any] = {
        "trial_sigma": trial_sigma,
        "gap_s": gap_s,
        "filler_useful": filler_useful,
        "prepared_s": read_times("--prepared-s", prepared_s),
        "tried_s": read_times("--tried-s", tried_s),
    }
    if think:
        clock = parse_clock(think)
        asked |= {"think_s": clock.median_s, "think_sigma": clock.sigma, "think_by_size_s": {}}
    asked |= {"talk_s": read_table(talk)} if talk else ({"talk_s": {}} if think else {})
    asked |= {name: value for name, value in (("train_s", train_s), ("trial_s", trial_s)) if value >= 0}
    if episode_s:
        asked["episode_s"] = episode_s
    if window or (think and not preset):
        asked["window"] = window
    times = replace(times, **asked)
    found = forecast(times, read_sizes(sizes), runs=check_runs(runs), horizon_s=horizon_s, warm_up_s=warm_up_s)
    first = next((one.time_to_success_s for one in found if one.stations == 1), None)
    ups = {one.stations: first / one.time_to_success_s for one in found if first and one.time_to_success_s}
    alpha = speed_up_alpha(ups) if len(ups) > 1 else None
    rows = [{**asdict(one), "speed_up": ups.get(one.stations)} for one in found]
    if times.window < 0 and not think:
        rows = [{**row, "published_mru": PUBLISHED_MRU.get(int(str(row["stations"])))} for row in rows]
    if as_json:
        print(json.dumps({"times": asdict(times), "runs": runs, "alpha": alpha, "fleets": rows}))
    else:
        _tell(rows, alpha)


def read_sizes(text: str) -> list[int]:
    """`1,4,8` as numbers from 1 to 64."""
    parts = text.split(",")
    if not all(part.strip().isdigit() and 1 <= int(part) <= 64 for part in parts):
        raise UsageError(f"--sizes {text!r}: numbers from 1 to 64 with commas between them. Try: --sizes {SIZES}")
    return [int(part) for part in parts]


def read_table(text: str) -> dict[int, float]:
    """`1:5,8:12` as fleet size → seconds."""
    try:
        pairs = [part.split(":") for part in text.split(",")]
        return {int(size): float(value) for size, value in pairs}
    except ValueError:
        raise UsageError(f"--talk {text!r}: SIZE:SECONDS with commas between them. Try: --talk 1:5,4:8,8:12") from None


def read_times(option: str, text: str) -> tuple[float, ...]:
    """`812,1033` as seconds."""
    try:
        found = tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        found = (-1.0,)
    if not all(0 <= value < 1e9 for value in found):
        raise UsageError(f"{option} {text!r}: seconds with commas between them. Try: {option} 812,1033")
    return found


def check_runs(runs: int) -> int:
    """1 … 1000."""
    if not 1 <= runs <= 1000:
        raise UsageError(f"--runs {runs}: 1 to 1000 simulated fleets. Try: --runs 10")
    return runs


def _tell(rows: list[dict[str, Any]], alpha: float | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("robots", "utilisation", "useful", "window", "h to success", "speed-up", "tokens to success")
    for row in rows:
        hours, tokens = row["time_to_success_s"], row["tokens_to_success"]
        table.add_row(
            str(row["stations"]), f"{row['mru']:.1%}", f"{row['useful_share']:.0%}", str(row["window"]),
            f"{hours / 3600:.2f}" if hours else "-", f"{row['speed_up']:.2f}" if row["speed_up"] else "-",
            f"{tokens / 1e6:.2f} M" if tokens else "-",
        )  # fmt: skip
    console = Console()
    console.print(table)
    if alpha is not None:
        console.print(f"speed-up ≈ N / (1 + {alpha:.3f} (N − 1))")
