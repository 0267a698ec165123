"""Success and episode length of a recorded data set: second stage of dvc.yaml.

    python -m benchmarks.summarize_dataset DATASET METRICS.json STEPS.csv

Reads the shard's parquet files; success rate with n and its 95 % Wilson interval.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

from data.statistics import wilson


def main() -> None:
    """Write the metrics and the table behind the plot."""
    dataset, metrics, table = map(Path, sys.argv[1:4])
    frames = pd.concat([pd.read_parquet(path) for path in sorted((dataset / "data").rglob("*.parquet"))])
    episodes = frames.groupby("episode_index").agg(steps=("frame_index", "size"), outcome=("outcome", "last"))
    good = int((episodes["outcome"].astype(str).str.lower() == "success").sum())
    low, high = wilson(good, len(episodes))
    metrics.parent.mkdir(parents=True, exist_ok=True)
    figures = {"n": len(episodes), "successes": good, "wilson_low": round(low, 4), "wilson_high": round(high, 4)}
    metrics.write_text(json.dumps({**figures, "median_steps": float(episodes["steps"].median())}, indent=2) + "\n")
    episodes.reset_index().rename(columns={"episode_index": "episode"})[["episode", "steps"]].to_csv(table, index=False)


if __name__ == "__main__":
    main()
