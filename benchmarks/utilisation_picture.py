"""docs/utilisation.png: what eight robots do with half an hour, one researcher per robot and with the window, by the model.

python -m benchmarks.utilisation_picture [OUT.png]
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

from data.fleet_model import Fleet, FleetTimes, forecast

STATIONS, FROM_S, TO_S = 8, 1500.0, 3300.0
TIMES = FleetTimes(
    think_s=520.0, think_sigma=0.5, train_s=130.0, trial_s=130.0, trial_sigma=0.3, gap_s=0.5, episode_s=10.0
)
"""The times of `nightlab benchmark mru`: thinking takes four trials in the median, training one."""
TRIAL, FILLER, IDLE = "#2a6f97", "#a9d6e5", "#f1f1f1"


def draw(out: Path) -> None:
    """Two timelines and the curve of utilisation by fleet size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ways = {"one researcher per robot": replace(TIMES, window=-1, episode_s=0.0), "nightlab": TIMES}
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), width_ratios=(1, 1, 0.8), layout="constrained")
    for axis, (name, times) in zip(axes, ways.items(), strict=False):
        fleet = Fleet(times, STATIONS, random.Random(4))
        found = fleet.run(TO_S - FROM_S, FROM_S)
        for robot in range(STATIONS):
            axis.broken_barh([(0, 30)], (robot + 0.6, 0.8), color=IDLE)
            for useful, colour in ((True, TRIAL), (False, FILLER)):
                spans = [(b, e) for who, b, e, kind in fleet.spans if who == robot and kind is useful]
                cut = [(max(b, FROM_S) - FROM_S, min(e, TO_S) - FROM_S) for b, e in spans if b < TO_S and e > FROM_S]
                axis.broken_barh([(b / 60, (e - b) / 60) for b, e in cut], (robot + 0.6, 0.8), color=colour)
        axis.set(title=f"{name}: {found.mru:.0%} busy", xlabel="minutes", ylabel="robot", xlim=(0, 30))
    sizes = [1, 2, 4, 8, 16, 32, 64]
    for (name, times), colour in zip(ways.items(), ("#999999", TRIAL), strict=True):
        rows = forecast(times, sizes, runs=5, horizon_s=6000, warm_up_s=FROM_S)
        axes[2].plot(sizes, [100 * row.mru for row in rows], "o-", color=colour, label=name, markersize=3)
    axes[2].set(title="utilisation by fleet size, model", xlabel="robots", ylabel="%", xscale="log", ylim=(0, 103))
    axes[2].set_xticks(sizes, [str(size) for size in sizes])
    axes[2].legend(loc="center right", fontsize=8)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in (TRIAL, FILLER, IDLE)]
    figure.legend(handles, ["trial", "filler work", "idle"], loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "utilisation.png")
