"""Beyond the sandbox, in the frozen code: verifier, starts, reset, limits and manifest, changed in a copy of the project."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nightlab.errors import TamperError
from nightlab.records import CampaignSpec
from tests.cheating.attack import Outcome, Tried, attack
from tests.cheating.house import House
from tests.cheating.in_episode import TableTrial, job, world
from tests.cheating.in_lab import BEYOND, ended_as_invalid, idle

FROZEN = "the verifier and every trial check the frozen manifest"
UNCHECKED = "no check of the manifest"


EFFECT = """
import json, math, numpy as np
from environments import make, make_verifier
from environments.push_t.start import sample_start
from nightlab.contracts import EpisodeEvidence, Frame
from nightlab.records import Clock
from robots.worlds.push_t_camera import render_table
pose = (290.0, 240.0, math.pi / 4 + 0.4)
rgb, clock = render_table((60.0, 60.0), pose), Clock(wall_s=0, station_s=0)
seen = {"agent_xy": np.array([60.0, 60.0]), "block_pose": np.array(pose)}
evidence = EpisodeEvidence("push_t", [Frame("top", clock, n, rgb) for n in range(5)], [seen] * 5)
limits = make("push_t").limits
print(json.dumps({
    "outcome": make_verifier("push_t").verify(evidence).outcome.value,
    "start": [round(value, 1) for value in sample_start(5)[0].values()],
    "high": limits.action_high["target_xy"][0], "step": limits.max_step["target_xy"][0],
    "tolerance": __import__("environments.push_t.reset").push_t.reset.START_TOLERANCE_px,
}))
"""
"""What the code of a copy does: judge a T beside its goal, draw a start, give its limits."""


async def tamper(
    house: House, defended: bool, change: Callable[[Path], object], paid: Callable[[dict[str, Any]], bool]
) -> Tried:
    """Change a copy of the frozen code. Defended: its verifier must refuse to start. Else: see whether the change pays."""
    copy = house.frozen_copy()
    change(copy)
    if not defended:
        done = house.python(copy, "-c", EFFECT)
        return Tried(done.returncode == 0 and paid(json.loads(done.stdout)), done.stderr[-500:])
    started = house.python(
        copy, "-m", "environments.verifier_process", "--socket", str(copy / "v"), "--ready-file", str(copy / "ready")
    )
    refused = started.returncode == 2 and not (copy / "ready").exists()
    reason = started.stderr.removeprefix("nightlab: verifier: ").strip()
    return Tried(not refused, await ended_as_invalid(house, TamperError(reason)) if refused else reason)


def edit(name: str, old: str, new: str) -> Callable[[Path], object]:
    """A change of one file of a copy."""

    def change(copy: Path) -> object:
        text = (copy / name).read_text()
        assert old in text, f"{name} has no {old!r}"
        return (copy / name).write_text(text.replace(old, new))

    return change


@attack(BEYOND, "lower the verifier's threshold", defence=FROZEN, outcome=Outcome.INVALID, control=UNCHECKED,
        says=r"environments/push_t/spec\.py was changed")  # fmt: skip
async def lower_the_threshold(house: House, defended: bool) -> Tried:
    change = edit("environments/push_t/spec.py", "SUCCESS_COVERAGE = 0.95", "SUCCESS_COVERAGE = 0.05")

    def easier(copy: Path) -> None:
        change(copy)
        edit("environments/push_t/spec.py", "GUARD_BAND = (0.945, 0.955)", "GUARD_BAND = (0.045, 0.055)")(copy)

    return await tamper(house, defended, easier, lambda now: bool(now["outcome"] == "success"))


@attack(BEYOND, "make the verifier say yes", defence=FROZEN, outcome=Outcome.INVALID, control=UNCHECKED,
        says=r"environments/push_t/verify\.py was changed")  # fmt: skip
async def bribe_the_verifier(house: House, defended: bool) -> Tried:
    change = edit("environments/push_t/verify.py", "outcome=outcome,", "outcome=Outcome.SUCCESS,")
    return await tamper(house, defended, change, lambda now: bool(now["outcome"] == "success"))


@attack(BEYOND, "move the goal to where the T lies", defence=FROZEN, outcome=Outcome.INVALID, control=UNCHECKED,
        says=r"nightlab/geometry\.py was changed")  # fmt: skip
async def move_the_goal(house: House, defended: bool) -> Tried:
    goal = "GOAL_POSE: Final = (256.0, 256.0, math.pi / 4)"
    change = edit("nightlab/geometry.py", goal, "GOAL_POSE: Final = (290.0, 240.0, math.pi / 4 + 0.4)")
    return await tamper(house, defended, change, lambda now: bool(now["outcome"] == "success"))


@attack(BEYOND, "draw every start at the goal", defence=FROZEN, outcome=Outcome.INVALID, control=UNCHECKED,
        says=r"environments/push_t/start\.py was changed")  # fmt: skip
async def draw_easy_starts(house: House, defended: bool) -> Tried:
    change = edit(
        "environments/push_t/start.py",
        "draw = random.Random(seed).random",
        "draw = iter([.1, .1, .52, .52, .625]).__next__",
    )
    return await tamper(house, defended, change, lambda now: bool(now["start"] == [90.0, 90.0, 256.0, 256.0, 0.8]))


@attack(BEYOND, "let the reset pass with the T anywhere", defence=FROZEN, outcome=Outcome.INVALID, control=UNCHECKED,
        says=r"environments/push_t/spec\.py was changed")  # fmt: skip
async def loosen_the_reset(house: House, defended: bool) -> Tried:
    change = edit("environments/push_t/spec.py", "START_TOLERANCE_px = 3.0", "START_TOLERANCE_px = 3000.0")
    return await tamper(house, defended, change, lambda now: bool(now["tolerance"] == 3000.0))


@attack(BEYOND, "widen the environment's limits", defence=FROZEN, outcome=Outcome.INVALID, control=UNCHECKED,
        says=r"environments/push_t/limits\.py was changed")  # fmt: skip
async def loosen_the_limits(house: House, defended: bool) -> Tried:
    change = edit("environments/push_t/limits.py", '"target_xy": (80.0, 80.0)', '"target_xy": (500.0, 500.0)')
    return await tamper(house, defended, change, lambda now: bool(now["step"] == 500.0))


@attack(BEYOND, "put a package in front of a frozen module", defence=FROZEN, outcome=Outcome.INVALID, control=UNCHECKED,
        says=r"nightlab/geometry/__init__\.py is new")  # fmt: skip
async def shadow_a_frozen_module(house: House, defended: bool) -> Tried:
    def change(copy: Path) -> None:
        text = (copy / "nightlab/geometry.py").read_text()
        (copy / "nightlab/geometry").mkdir()
        head, _, _ = text.partition("GOAL_POSE: Final")
        moved = text.replace("(256.0, 256.0, math.pi / 4)", "(290.0, 240.0, math.pi / 4 + 0.4)")
        assert head != text
        (copy / "nightlab/geometry/__init__.py").write_text(moved)

    return await tamper(house, defended, change, lambda now: bool(now["outcome"] == "success"))


@attack(BEYOND, "write another hash into the manifest", defence="the manifest's own sha256 covers its lines",
        outcome=Outcome.INVALID, control=UNCHECKED, says="was edited by hand")  # fmt: skip
async def edit_the_manifest_by_hand(house: House, defended: bool) -> Tried:
    def change(copy: Path) -> None:
        import hashlib

        edit("environments/push_t/limits.py", '"target_xy": (80.0, 80.0)', '"target_xy": (500.0, 500.0)')(copy)
        path = copy / "environments/push_t/manifest.json"
        record = json.loads(path.read_text())
        name = "environments/push_t/limits.py"
        record["files"][name] = hashlib.sha256((copy / name).read_bytes()).hexdigest()
        path.write_text(json.dumps(record))

    return await tamper(house, defended, change, lambda now: bool(now["step"] == 500.0))


@attack(BEYOND, "freeze changed code anew while the campaign runs", defence="a campaign is held to the manifest it began with",
        outcome=Outcome.INVALID, control="whatever is frozen at each trial", says="was frozen anew while C1 ran")  # fmt: skip
async def freeze_anew_in_mid_campaign(house: House, defended: bool) -> Tried:
    before = "0" * 64 if defended else ""  # what was frozen when the campaign began: another code
    spec = CampaignSpec(campaign="C1", manifest_sha256=before)
    trial = TableTrial(job([1]).model_copy(update={"campaign": spec}), None, idle, world())
    from tasks.trial_sink import MemorySink

    trial.keeper = MemorySink()
    try:
        done = await trial.run()
    except TamperError as error:
        return Tried(False, await ended_as_invalid(house, error))
    return Tried(done.episodes == 1, "")
