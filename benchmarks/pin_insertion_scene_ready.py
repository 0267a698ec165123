"""Makes the scene-ready classifier of pin insertion: pictures from simulation, a small CNN, an ONNX file.

    python -m benchmarks.pin_insertion_scene_ready collect DIR --n 2400 --first-station 0      # pictures and labels
    python -m benchmarks.pin_insertion_scene_ready train DIR --out environments/pin_insertion/scene_ready.onnx
    python -m benchmarks.pin_insertion_scene_ready test DIR                                     # on other stations

Half of the scenes are ready: the pin in the right gripper at a sampled start, put there or brought by a reset. The
others are the ends of episodes
(environments/pin_insertion/exam.py), starts with an empty gripper, with the pin askew in it, and too near the plate.
Stations of all three profiles; those of training and test are never the same.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from environments.exam import TruthStation
from environments.pin_insertion import exam, scene_ready
from environments.pin_insertion.environment import PinInsertion
from environments.pin_insertion.start import RANGES, sample_start
from robots.profiles import Spread, load_profile
from robots.worlds import make_world

PROFILES = ("nominal", "real", "hard")
SCENES_PER_STATION = 24
ASKEW_rad = 0.12
"""A pin in the gripper that leans more than this is not ready; the reset's own tolerance is 0.05."""
KINDS = ("ready", "end", "ready", "empty", "ready", "askew", "ready", "low", "ready", "end", "reset", "empty")
"""In turn; `reset` is a ready scene that the arms made, from a pin standing in a hole."""


def scene(world: Any, kind: str, rng: np.random.Generator, number: int) -> bool | None:
    """Bring the world into a scene of that kind; whether it is ready, None if it turned out to be neither."""
    start = sample_start(int(rng.integers(2**31)))
    seed = int(rng.integers(2**31))
    if kind == "low":
        start |= {"tip_z_m": float(rng.uniform(-0.012, 0.018))}
        start |= {key: float(rng.uniform(-0.003, 0.003)) for key in ("tip_x_m", "tip_y_m")}
    if kind == "empty":
        away = exam.states(64, int(rng.integers(2**31)))[1 + 2 * int(rng.integers(30))]
        mouth = [world.truth()[f"mouth_{int(away['in_hole'])}_{axis}_m"] for axis in "xyz"]
        start |= {"pin_x_m": mouth[0], "pin_y_m": mouth[1], "pin_z_m": mouth[2] - away["bottom_m"] + 0.0003}
        start |= {key: away[key] for key in ("pin_rx_rad", "pin_ry_rad", "pin_rz_rad", "bottom_m")}
        start["tip_z_m"] += 0.03
    world.teleport(start, seed)
    truth = world.truth()
    lean = math.hypot(truth["pin_rx_rad"], truth["pin_ry_rad"])
    if kind in ("empty", "low"):
        return False
    if kind == "askew":
        return False if truth["held"] and lean > ASKEW_rad else None
    above = truth["tip_z_m"] > RANGES["tip_z_m"][0] - 0.004
    return True if truth["held"] and lean < 0.06 and above else None


def collect(out: Path, n: int, first_station: int) -> dict[str, Any]:
    """Write `n` scenes: pictures uint8 [n, 6, 96, 128], labels, kinds."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([0x5CE7E, first_station])
    pictures, labels, kinds = [], [], []
    begin_s = time.perf_counter()
    for number, (station, kind) in enumerate(_stations(n, first_station)):
        ready: bool | None = False
        if kind == "end":
            state = exam.states(40, int(rng.integers(2**31)))[int(rng.integers(40))]
            asyncio.run(_end(station, state, int(rng.integers(2**31))))
        elif kind == "reset":
            ready = asyncio.run(
                _reset(station, exam.states(40)[1 + 2 * int(rng.integers(20))], int(rng.integers(2**31)))
            )
        else:
            ready = scene(station.world, kind, rng, number)
        if ready is None:
            continue
        rgb = {camera: station.world.render(camera) for camera in ("top", "side")}
        pictures.append(np.rint((scene_ready.picture(rgb) + 1.0) * 127.5).astype(np.uint8))
        labels.append(ready)
        kinds.append(kind)
    np.savez_compressed(out / "scenes.npz", pictures=np.array(pictures), labels=np.array(labels), kinds=np.array(kinds))
    return {"n": len(labels), "ready": sum(labels), "wall_s": round(time.perf_counter() - begin_s, 1)}


def _stations(n: int, first: int) -> Iterator[tuple[TruthStation, str]]:
    """A station and a kind of scene, `n` times; a new station every SCENES_PER_STATION."""
    for block in range(math.ceil(n / SCENES_PER_STATION)):
        profile = load_profile(PROFILES[block % len(PROFILES)], "yam_bench")
        straight = TruthStation(make_world("yam_bench", profile, first + block))
        loose = profile.model_copy(update={"grasp_tilt_rad": Spread(value=0.25)})
        askew = TruthStation(make_world("yam_bench", loose, first + block))
        for number in range(min(SCENES_PER_STATION, n - block * SCENES_PER_STATION)):
            kind = KINDS[number % len(KINDS)]
            yield (askew if kind == "askew" else straight), kind


async def _end(station: TruthStation, state: dict[str, float], seed: int) -> None:
    lease = await station.lease("scene", PinInsertion().limits)
    try:
        await exam.prepare(station, lease, station, state, seed)
    finally:
        await lease.release()


async def _reset(station: TruthStation, state: dict[str, float], seed: int) -> bool | None:
    await _end(station, state, seed)
    environment = PinInsertion()
    lease = await station.lease("scene", environment.limits)
    try:
        report = await environment.reset(station, lease, seed, admin=station)
    finally:
        await lease.release()
    return True if report.success else None


def network() -> Any:
    """A CNN with 30 thousand parameters: four strided convolutions, mean and maximum over the picture, one neuron."""
    import torch
    from torch import nn

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            widths = (6, 16, 24, 32, 48)
            layers: list[nn.Module] = []
            for before, after in itertools.pairwise(widths):
                layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            self.body = nn.Sequential(*layers)
            self.head = nn.Linear(2 * widths[-1], 1)

        def forward(self, x: Any) -> Any:
            y = self.body(x)
            return self.head(torch.cat([y.mean(dim=(2, 3)), y.amax(dim=(2, 3))], dim=1))

    return Net()


def train(folder: Path, out: Path, epochs: int, seed: int) -> dict[str, Any]:
    """Train on the scenes of a folder and export; one scene in ten is kept for choosing the best epoch."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    data = np.load(folder / "scenes.npz")
    pictures, labels = data["pictures"], data["labels"].astype(np.float32)
    order = rng.permutation(len(labels))
    held, used = order[: len(order) // 10], order[len(order) // 10 :]
    net = network()
    steps = epochs * (len(used) // 32)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=max(1, steps))
    best, best_loss, state = -1, math.inf, net.state_dict()
    for epoch in range(epochs):
        net.train()
        for batch in np.array_split(rng.permutation(used)[: len(used) // 32 * 32], len(used) // 32):
            x = torch.from_numpy(augment(pictures[batch], rng))
            y = torch.from_numpy(0.01 + 0.98 * labels[batch])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(net(x)[:, 0], y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        net.eval()
        with torch.no_grad():
            logits = net(torch.from_numpy(pictures[held].astype(np.float32) / 127.5 - 1.0))[:, 0]
            held_loss = float(
                torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(labels[held]))
            )
        print(json.dumps({"epoch": epoch, "loss": round(float(loss), 4), "held_loss": round(held_loss, 4)}), flush=True)
        if held_loss <= best_loss:
            best, best_loss = epoch, held_loss
            state = {key: value.clone() for key, value in net.state_dict().items()}
    net.load_state_dict(state)
    export(net, out)
    return {"epochs": epochs, "best": best, "held_loss": round(best_loss, 5), "bytes": out.stat().st_size}


def augment(pictures: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Other light, colour and noise, and pictures shifted by up to 3 px: float32 in [-1, 1] or a little beyond."""
    x = pictures.astype(np.float32) / 127.5 - 1.0
    n = len(x)
    gain = rng.uniform(0.75, 1.15, (n, 6, 1, 1)) * rng.uniform(0.95, 1.05, (n, 1, 1, 1))
    x = (x + 1.0) * gain.astype(np.float32) - 1.0 + rng.normal(0, 0.015, (n, 6, 1, 1)).astype(np.float32)
    for number in range(n):
        for camera in range(2):
            down, right = rng.integers(-3, 4, 2)
            part = x[number, 3 * camera : 3 * camera + 3]
            x[number, 3 * camera : 3 * camera + 3] = np.roll(part, (down, right), axis=(1, 2))
    return np.asarray(x + rng.normal(0, 0.01, x.shape), dtype=np.float32)


def export(net: Any, out: Path) -> None:
    """Write the network as ONNX with a free first axis."""
    import torch

    shape = (1, 6, scene_ready.HEIGHT_px, scene_ready.WIDTH_px)
    net.eval()
    torch.onnx.export(
        net, (torch.zeros(shape),), str(out), input_names=["picture"], output_names=["logit"], opset_version=17,
        dynamic_axes={"picture": {0: "n"}, "logit": {0: "n"}}, dynamo=False,
    )  # fmt: skip


def test(folder: Path) -> dict[str, Any]:
    """The committed model on the scenes of a folder: right and wrong at the threshold, per kind of scene."""
    from environments.onnx_model import OnnxModel

    data = np.load(folder / "scenes.npz")
    labels, kinds = data["labels"], data["kinds"]
    model = OnnxModel(scene_ready.MODEL)
    begin_s = time.process_time()
    logits = np.array([model(one[None].astype(np.float32) / 127.5 - 1.0).ravel()[0] for one in data["pictures"]])
    cpu_s = (time.process_time() - begin_s) / len(labels)
    said = 1 / (1 + np.exp(-logits)) >= scene_ready.THRESHOLD
    by_kind = {
        str(kind): {"n": int(np.sum(kinds == kind)), "wrong": int(np.sum((said != labels) & (kinds == kind)))}
        for kind in np.unique(kinds)
    }
    return {
        "n": len(labels),
        "accuracy": round(float(np.mean(said == labels)), 5),
        "precision": round(float(np.sum(said & labels) / max(1, np.sum(said))), 5),
        "recall": round(float(np.sum(said & labels) / np.sum(labels)), 5),
        "false_ready": int(np.sum(said & ~labels)),
        "false_unready": int(np.sum(~said & labels)),
        "threshold": scene_ready.THRESHOLD,
        "cpu_ms": round(1000 * cpu_s, 2),
        "kinds": by_kind,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("verb", choices=("collect", "train", "test"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=2400)
    parser.add_argument("--first-station", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=scene_ready.MODEL)
    options = parser.parse_args()
    if options.verb == "collect":
        print(json.dumps(collect(options.folder, options.n, options.first_station)))
    elif options.verb == "train":
        print(json.dumps(train(options.folder, options.out, options.epochs, options.seed)))
    else:
        print(json.dumps(test(options.folder)))


if __name__ == "__main__":
    main()
