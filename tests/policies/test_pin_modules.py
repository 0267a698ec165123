"""Single modules of pin insertion on scripted readings; the pipeline on a scripted bench without physics."""

import math

import numpy as np
import pytest

from nightlab.skills.rotation import rotate
from policies.library.pin_insertion import (
    approach_above,
    comply_phase,
    comply_stiff,
    correct_always,
    correct_integral,
    guard_none,
    guard_quit,
    guard_yield,
    insert_follow,
    press_light,
    press_servo,
    recover_again,
    recover_done,
    search_hop,
    search_none,
    search_raster,
    search_spiral,
    sense_grasp,
    sense_latest,
    sense_nominal,
)
from policies.library.pin_insertion.kit import Array, Memory, Reading, View, step_towards
from policies.library.pin_insertion.pipeline import Pipeline

MOUTH = np.array([0.02, 0.03, 0.04])


def reading(tcp: Array, force: tuple[float, float, float] = (0.0, 0.0, 0.0), off_m: float = 0.0) -> Reading:
    tip = tcp[:3] + np.array([off_m, 0.0, -0.046])
    return Reading(tcp, np.array(force), np.zeros(3), abs(force[2]), MOUTH, np.array([*tip, 0.0, 0.0, 0.0]))


def seen(tip: Array, force: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> View:
    tcp = np.array([*(tip + np.array([0, 0, 0.046])), 0.0, 0.0, 0.0])
    return View(reading(tcp, force), tip, MOUTH)


def test_rotation_and_steps() -> None:
    assert rotate(np.array([0.0, 0.0, math.pi / 2]), np.array([1.0, 0.0, 0.0])) == pytest.approx([0, 1, 0], abs=1e-12)
    assert step_towards(np.zeros(3), np.array([0.0, 0.0, 1.0]), 0.1).tolist() == pytest.approx([0, 0, 0.1])
    assert step_towards(np.zeros(3), np.array([0.0, 0.0, 0.05]), 0.1).tolist() == [0, 0, 0.05]


def test_senses_differ_in_what_they_believe() -> None:
    tcp, memory = np.array([0.0, 0.0, 0.1, 0.0, 0.0, 0.2]), Memory()
    skewed = reading(tcp, off_m=0.002)
    assert sense_nominal.make({}).look(skewed, memory).tip == pytest.approx([0, 0, 0.055])
    assert sense_latest.make({}).look(skewed, memory).tip == pytest.approx([0.002, 0, 0.054])
    learned = sense_grasp.make({})
    learned.look(skewed, memory)
    memory.phase = "insert"
    slipped = reading(tcp, off_m=0.009)
    assert learned.look(slipped, memory).tip == pytest.approx([0.002, 0, 0.054])


def test_integrators_in_the_air_and_in_contact() -> None:
    memory, goal = Memory(), np.array([0.001, 0.0, 0.086])
    free, pressed = seen(np.array([0.0, 0.0, 0.04])), seen(np.array([0.0, 0.0, 0.04]), (0.0, 0.0, 9.0))
    far = seen(np.array([0.01, 0.0, 0.04]))
    quiet, eager = correct_integral.make({}), correct_always.make({})
    assert quiet.add(goal, free, memory)[0] == 0.0, "whether it is at rest is not yet known"
    assert quiet.add(goal, free, memory)[0] == pytest.approx(0.0001)
    assert quiet.add(goal, far, memory)[0] == pytest.approx(0.0001), "motion is not integrated"
    quiet.add(goal, free, memory)
    assert quiet.add(goal, pressed, memory)[0] == pytest.approx(0.0001), "contact is not integrated"
    assert eager.add(goal, pressed, memory)[0] == pytest.approx(0.0001)
    assert eager.add(goal, pressed, memory)[0] == pytest.approx(0.0002)


def test_patterns_cover_what_they_say() -> None:
    view, memory = seen(MOUTH), Memory()
    spiral = search_spiral.make({"pitch_m": 0.0004, "reach_m": 0.001, "slide_m_s": 0.004})
    points = []
    while (offset := spiral.step(view, memory)) is not None:
        points.append((offset.x_m, offset.y_m))
    path = np.array(points)
    assert 0.0009 < np.hypot(*path.T).max() < 0.0012
    assert np.hypot(*np.diff(path, axis=0).T).max() < 0.00021
    raster = search_raster.make({})
    first = raster.step(view, memory)
    assert first is not None
    assert first.x_m == first.y_m == pytest.approx(-0.0018)
    hop = search_hop.make({"hop_s": 0.3})
    lifts = [offset.lift_m for offset in (hop.step(view, memory) for _ in range(12)) if offset is not None]
    assert min(lifts) == 0.0
    assert max(lifts) > 0.001
    assert search_none.make({}).step(view, memory) is not None


def test_press_height_follows_stiffness_and_force() -> None:
    memory = Memory(stiffness_N_per_m=2000.0, plate_z=0.04)
    assert press_light.make({"light_N": 4.0}).height(seen(MOUTH), memory) == pytest.approx(0.038)
    servo = press_servo.make({"servo_N": 4.0})
    low = servo.height(seen(MOUTH), memory)
    assert low < 0.04
    assert servo.height(seen(MOUTH, (0.0, 0.0, 20.0)), memory) > low


def test_comply_and_follow() -> None:
    memory = Memory(phase="insert", stiffness_N_per_m=500.0, entry=MOUTH[:2].copy())
    assert comply_phase.make({"inside_N_per_m": 300.0}).stiffness(memory)[0] == 300.0
    assert comply_stiff.make({}).stiffness(memory)[0] == 2000.0
    goal = insert_follow.make({}).way(seen(MOUTH, (3.0, 0.0, 0.0)), memory)
    assert goal[0] > MOUTH[0]
    assert goal[2] < MOUTH[2]


def test_guards() -> None:
    memory, goal = Memory(stiffness_N_per_m=1000.0), MOUTH - [0, 0, 0.02]
    hard = seen(MOUTH, (0.0, 0.0, 30.0))
    softened = guard_yield.make({"yield_N": 10.0}).allow(goal, hard, memory)
    assert softened is not None
    assert softened[2] == pytest.approx(goal[2] + 0.02)
    assert guard_quit.make({}).allow(goal, hard, memory) is None
    assert guard_none.make({}).allow(goal, hard, memory) is goal


def test_recoveries() -> None:
    view, stuck = seen(MOUTH), Memory(phase="insert", idle_ticks=50)
    assert recover_again.make({}).verdict(view, stuck, searched=False) == "lift"
    assert recover_again.make({}).verdict(view, Memory(phase="search"), searched=False) == "go"
    assert recover_done.make({}).verdict(view, Memory(phase="search"), searched=True) == "done"


class ScriptedBench:
    """An arm without mass that goes where it is sent; a plate that nothing passes but at the hole."""

    def __init__(self, hole_off_m: float) -> None:
        self.tcp = np.array([0.0, 0.0, 0.14, 0.0, 0.0, 0.1])
        self.true = MOUTH + np.array([hole_off_m, 0, 0])
        self.push_N = 0.0

    def observe(self) -> dict[str, Array]:
        tip = self.tcp[:3] - [0, 0, 0.046]
        wrench, grip = np.array([0, 0, self.push_N, 0, 0, 0.0]), np.array([0.012, 20.0])
        return {
            "right_tcp": self.tcp.copy(), "left_tcp": np.zeros(6), "left_gripper": grip, "right_gripper": grip,
            "right_wrench": wrench, "peak_force": np.array([0.0, self.push_N]), "hole_estimate": MOUTH,
            "pin_estimate": np.array([*tip, 0, 0, 0]),
        }  # fmt: skip

    def step(self, action: dict[str, Array]) -> None:
        pose, stiffness = action["right_pose"].copy(), action["right_stiffness"][0]
        tip_z, lowest = pose[2] - 0.046, MOUTH[2]
        if np.hypot(*(pose[:2] - self.true[:2])) < 0.0003 or self.tcp[2] - 0.046 < lowest - 0.001:
            lowest -= 0.025
        self.push_N = max(0.0, float((lowest - tip_z) * stiffness))
        pose[2] = max(tip_z, lowest) + 0.046
        self.tcp = pose

    @property
    def depth_m(self) -> float:
        return float(MOUTH[2] - self.tcp[2] + 0.046)


def play(pipeline: Pipeline, bench: ScriptedBench, ticks: int = 400) -> bool:
    pipeline.reset(None, 1)
    for _ in range(ticks):
        chunk = pipeline.act(bench.observe())
        if chunk is None:
            return True
        bench.step(chunk[0])
    return False


def good(**changes: object) -> Pipeline:
    modules = {
        "sense": sense_latest, "approach": approach_above, "correct": correct_integral, "search": search_spiral,
        "press": press_light, "comply": comply_phase, "insert": insert_follow, "guard": guard_yield,
        "recover": recover_again,
    }  # fmt: skip
    return Pipeline({**modules, **changes}, {})


def test_the_pipeline_finds_a_hole_beside_its_estimate_and_says_done() -> None:
    bench = ScriptedBench(hole_off_m=0.001)
    assert play(good(), bench)
    assert bench.depth_m > 0.015


def test_without_a_search_it_stays_beside_the_hole_until_it_gives_up() -> None:
    bench = ScriptedBench(hole_off_m=0.001)
    assert play(good(search=search_none), bench), "it does not stand there for all 400 periods"
    assert bench.depth_m < 0.001


def test_a_missing_slot_is_named() -> None:
    with pytest.raises(ValueError, match="a pipeline has exactly: sense, approach"):
        Pipeline({"sense": sense_latest}, {})
