"""The dry run at deploy: a good policy has no problems, a bad one a line that says what to mend."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from nightlab.contracts import Values
from nightlab.records import Channel, LimitsSpec, StationSpec
from nightlab.testing.policy import ScriptedPolicy, write_policy
from policies.check import check_policy
from policies.trainer import SandboxedTrainer

SPEC = StationSpec(
    station_id="robot-1",
    kind="push_t",
    rate_hz=10,
    speed=10,
    simulated=True,
    observations=(
        Channel(key="agent_xy", shape=(2,), unit="px,px", low=(0, 0), high=(512, 512)),
        Channel(key="block_pose", shape=(3,), unit="px,px,rad", low=(0, 0, -np.pi), high=(512, 512, np.pi)),
    ),
    actions=(Channel(key="target_xy", shape=(2,), unit="px,px", low=(0, 0), high=(512, 512)),),
    limits=LimitsSpec(action_low={"target_xy": (0, 0)}, action_high={"target_xy": (512, 512)}),
)
SEEN: list[Values] = [
    {"agent_xy": np.array([100.0 + step, 200.0]), "block_pose": np.array([250.0, 300.0, 0.5])} for step in range(6)
]
FOLLOW = 'return [{"target_xy": observation["agent_xy"]}]'


def problems(folder: Path, **policy: str) -> list[str]:
    code, checkpoint = write_policy(folder, **policy)  # type: ignore[arg-type]
    return asyncio.run(check_policy(code, checkpoint, SPEC, SEEN))


def test_a_good_policy_has_none(tmp_path: Path) -> None:
    assert problems(tmp_path, act=FOLLOW) == []


def test_the_template_that_researchers_start_from_has_none(tmp_path: Path) -> None:
    template = Path(__file__).resolve().parents[2] / "research" / "push_t"

    async def main() -> list[str]:
        await SandboxedTrainer().train(template, tmp_path, budget_s=30)
        return await check_policy(template, tmp_path, SPEC, SEEN)

    assert asyncio.run(main()) == []


def test_bad_ones_say_what_to_mend(tmp_path: Path) -> None:
    assert problems(tmp_path / "a", act="return [{'target_xy': [600, 1]}]") == [
        "act gave target_xy = [600.0, 1.0]; the station takes [0.0, 0.0] to [512.0, 512.0] px,px"
    ]
    assert problems(tmp_path / "b", act="return observation['gripper']") == [
        "policy failed at act: KeyError: 'gripper' (policy.py line 8, in act)"
    ]
    assert problems(tmp_path / "c", act=FOLLOW, make="raise ValueError('no such knob')") == [
        "policy failed at loading policy.py: ValueError: no such knob (policy.py line 13, in make_policy)"
    ]
    (tmp_path / "d").mkdir()
    assert asyncio.run(check_policy(tmp_path / "d", tmp_path / "d", SPEC, SEEN)) == [
        f"{tmp_path / 'd'} has no policy.py; it must define make_policy(checkpoint: Path) -> Policy"
    ]


def test_state_that_a_reset_forgot_is_found(tmp_path: Path) -> None:
    found = problems(tmp_path, reset="assert not hasattr(self, 'used'), 'reset twice'; self.used = True", act=FOLLOW)
    assert found == ["policy failed at reset: AssertionError: reset twice (policy.py line 6, in reset)"]


def test_a_policy_too_slow_for_the_control_period_is_found(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"rate_hz": 50.0})
    for act, count in ((FOLLOW, 1), ("return [{'target_xy': observation['agent_xy']}] * 32", 0)):
        code, checkpoint = write_policy(tmp_path / str(count), load="import time", act="time.sleep(0.04)\n" + act)
        lines = asyncio.run(check_policy(code, checkpoint, spec, SEEN))
        assert len({line.partition(" ms")[2] for line in lines}) == count, lines
    code, checkpoint = tmp_path / "1" / "code", tmp_path / "1" / "checkpoint"
    line = asyncio.run(check_policy(code, checkpoint, spec, SEEN))[0]
    assert line.startswith("act takes ")
    assert line.endswith("per action, a control period lasts 20 ms; give longer chunks or compute less")


def test_the_scripted_policy_stands_in_for_a_process() -> None:
    async def main() -> None:
        policy = ScriptedPolicy(lambda seen, n: [{"target_xy": seen["agent_xy"] + n}] if n < 2 else None)
        await policy.reset(SPEC, 3)
        assert await policy.act(SEEN[0])
        chunk = await policy.act(SEEN[0])
        assert chunk is not None
        assert chunk[0]["target_xy"].tolist() == [101.0, 201.0]
        assert await policy.act(SEEN[0]) is None
        await policy.close()
        assert not policy.alive
        assert policy.resets == [3]

    asyncio.run(main())
