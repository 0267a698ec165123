"""The contract check at deploy: a dry run of a policy against recorded observations; no robot is touched."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from nightlab.contracts import Values
from nightlab.errors import PolicyError
from nightlab.records import StationSpec
from nightlab.sandbox import Level
from policies.host import PolicyProcess

EPISODES: Final = 2
"""Episodes of the dry run: the second finds state that a reset forgot."""
TIMED: Final = 5
"""Answers from which on their time counts: the lower quartile, so that a busy host blames no policy."""


async def check_policy(
    code_dir: Path,
    checkpoint_dir: Path,
    spec: StationSpec,
    observations: Sequence[Values],
    *,
    level: Level | None = None,
    act_deadline_s: float = 2.0,
) -> list[str]:
    """What is wrong with the policy, one line each; empty if it keeps the contract.

    Args:
        code_dir: Folder with `policy.py`.
        checkpoint_dir: Its checkpoint.
        spec: The station that it is deployed to.
        observations: Recorded observations of such a station, oldest first.
        level: Sandbox level; by default the strongest that works here.
        act_deadline_s: Wall seconds that one answer may take.
    """
    if not (Path(code_dir) / "policy.py").is_file():
        return [f"{code_dir} has no policy.py; it must define make_policy(checkpoint: Path) -> Policy"]
    try:
        policy = await PolicyProcess.start(code_dir, checkpoint_dir, act_deadline_s=act_deadline_s, level=level)
    except PolicyError as error:
        return [str(error)]
    problems: list[str] = []
    try:
        for episode in range(EPISODES):
            problems += await _episode(policy, spec, episode, observations)
    except PolicyError as error:
        problems.append(str(error))
    finally:
        await policy.close()
    return list(dict.fromkeys(problems))


async def _episode(policy: PolicyProcess, spec: StationSpec, seed: int, observations: Sequence[Values]) -> list[str]:
    await policy.reset(spec, seed)
    problems: list[str] = []
    seconds: list[float] = []
    for values in observations:
        begin_s = time.perf_counter()
        chunk = await policy.act(values)
        seconds.append(time.perf_counter() - begin_s)
        if chunk is None:
            break
        seconds[-1] /= len(chunk)
        problems += _out_of_bounds(spec, chunk)
    usual_s = statistics.quantiles(seconds)[0] if len(seconds) >= TIMED else 0.0
    if usual_s > 1 / spec.rate_hz:
        problems.append(
            f"act takes {1e3 * usual_s:.0f} ms per action, "
            f"a control period lasts {1e3 / spec.rate_hz:.0f} ms; give longer chunks or compute less"
        )
    return problems


def _out_of_bounds(spec: StationSpec, chunk: Sequence[Values]) -> list[str]:
    """The first action outside the station's limits, which its safety filter would refuse."""
    for action in chunk:
        for channel in spec.actions:
            low = np.reshape(spec.limits.action_low.get(channel.key, channel.low), channel.shape)
            high = np.reshape(spec.limits.action_high.get(channel.key, channel.high), channel.shape)
            value = action[channel.key]
            if (value < low).any() or (value > high).any():
                return [
                    f"act gave {channel.key} = {value.tolist()}; the station takes "
                    f"{low.tolist()} to {high.tolist()} {channel.unit}"
                ]
    return []
