"""Nothing is learned: the checkpoint is the knobs. `python train.py --out DIR` writes config.json, params.json."""

import argparse
import json
from pathlib import Path

import yaml

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path, required=True)
out = parser.parse_args().out
out.mkdir(parents=True, exist_ok=True)
knobs = yaml.safe_load(Path(__file__).with_name("params.yaml").read_text()) or {}
(out / "params.json").write_text(json.dumps(knobs))
(out / "config.json").write_text(json.dumps({"kind": "touch_spot_pipeline", "learned": False}) + "\n")
print("nothing to train; wrote the knobs")
