"""The picture of an environment's README: what its station's cameras see at the start of one seed, side by side.

python -m benchmarks.environment_picture push_t [SEED]      # writes picture.png into the environment's folder
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import cv2
import numpy as np

from environments import make, world
from nightlab.cards import card, folder
from nightlab.testing.fake_station import FakeStation
from robots.profiles import load_profile
from robots.worlds import make_world

HEIGHT_PX = 300


async def picture(name: str, seed: int) -> Path:
    """Reset a simulated station in this process to the start of `seed` and write what its cameras see."""
    environment, about = make(name), card(name)
    station = FakeStation(make_world(world(name), load_profile("nominal", about.world), 1))
    lease = await station.lease("picture", environment.limits)
    await environment.reset(station, lease, seed, admin=station)
    views = []
    for camera in (await station.describe()).cameras[:2]:
        rgb = (await station.capture(camera.key)).rgb
        width_px = round(rgb.shape[1] * HEIGHT_PX / rgb.shape[0])
        views.append(cv2.resize(rgb, (width_px, HEIGHT_PX), interpolation=cv2.INTER_AREA))
    path = folder(name) / about.picture
    cv2.imwrite(str(path), np.hstack(views)[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return path


if __name__ == "__main__":
    print(asyncio.run(picture(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)))
