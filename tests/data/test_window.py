"""How many ideas are prepared at once, from measured times, budgets and settings."""

from __future__ import annotations

import pytest

from data import window
from data.synthetic import START_S, SyntheticCampaign
from nightlab.records import CampaignSpec, Outcome, Proposal, ProposalStatus, SeedPool, Work, WorkKind


class Bench:
    """A campaign whose ideas are moved by hand through real events; times in s after its start."""

    def __init__(self, **spec: object) -> None:
        fields = {"campaign": "C1", "budget_s": 60_000, "speed": 1.0, **spec}
        self.campaign = SyntheticCampaign(CampaignSpec.model_validate(fields))
        self.state = self.campaign.state
        self._emit(0, "campaign_started", data=self.campaign.spec.model_dump(mode="json"))
        self.campaign._commit("I0", None, Proposal(status=ProposalStatus.OK, researcher="template"))

    def _emit(self, at_s: float, kind: str, iteration: str = "", station: str = "", **more: object) -> None:
        self.campaign.now_s = START_S + at_s
        self.campaign._emit(kind, iteration, station, more.get("data", {}))  # type: ignore[arg-type]

    def think(self, name: str, at_s: float, station: str = "robot-1") -> Work:
        work = Work(kind=WorkKind.SEARCH, campaign="C1", iteration=name, station=station, parent="I0")
        self.claim(work, at_s)
        self._emit(at_s, "stage_started", name, station, data={"stage": "literature"})
        return work

    def claim(self, work: Work, at_s: float) -> None:
        self._emit(at_s, "work_claimed", work.iteration, work.station, data=work.model_dump(mode="json"))

    def ready(self, name: str, at_s: float, station: str = "robot-1") -> None:
        self._emit(at_s, "stage_started", name, station, data={"stage": "rollout"})

    def place(self, name: str, at_s: float, station: str) -> None:
        self._emit(at_s, "dispatched", name, station)

    def trial(self, work: Work, at_s: float, steps: int) -> None:
        self.campaign.now_s = START_S + at_s
        self.campaign._record(work, work.iteration, SeedPool.SEARCH, 1, 0, (Outcome.FAILURE, 0.3, steps, "rotated"))
        self._emit(at_s + 1000, "iteration_ended", work.iteration, work.station, data={"status": "decided"})

    def enough(self, at_s: float, station: str = "robot-1", most: int = 0) -> str:
        return window.enough(self.state, station, START_S + at_s, most)


def measured(think_s: float, trial_steps: int) -> Bench:
    """Five ideas that took `think_s` to prepare and a trial of `trial_steps` control periods (0.1 s)."""
    bench = Bench()
    for number in range(1, 6):
        work = bench.think(f"I{number}", 0)
        bench.ready(f"I{number}", think_s)
        bench.place(f"I{number}", think_s, "robot-1")
        bench.trial(work, think_s, trial_steps)
    return bench


@pytest.mark.parametrize(("think_s", "wanted"), [(500, 6), (540, 7), (99_000, 32), (1, 2), (90, 2)])
def test_the_window_is_think_and_train_over_trial_plus_one_and_the_one_at_the_robot(
    think_s: float, wanted: int
) -> None:
    bench = measured(think_s, 1005)  # a trial of 101.05 s
    assert window.trial_s(bench.state) == pytest.approx(101.05, abs=0.01)
    assert window.preparation_s(bench.state, START_S) == think_s
    beside = 1 if 1 < wanted - 1 < 31 else 0
    assert window.window(bench.state, START_S) == wanted + beside


def test_waiting_for_a_processor_is_no_preparation() -> None:
    bench = Bench()
    for number in range(1, 6):
        name = f"I{number}"
        work = bench.think(name, 0)
        bench._emit(50, "note", name, "robot-1", data={"note": "waited for a processor to train", "waited_s": 400.0})
        bench.ready(name, 500)
        bench.place(name, 500, "robot-1")
        bench.trial(work, 500, 1005)
    assert window.preparation_s(bench.state, START_S) == 100
    assert window.window(bench.state, START_S) == 2, "else ideas that only wait would call for ever more of them"


def test_a_host_that_begins_its_ideas_late_is_given_no_more_of_them() -> None:
    bench = measured(600, 1005)
    assert window.window(bench.state, START_S) == 8
    works = [Work(kind=WorkKind.SEARCH, campaign="C1", iteration=f"I{n}", station="robot-1") for n in (6, 7)]
    bench.claim(works[0], 2000)
    assert bench.enough(2000) == ""
    bench.claim(works[1], 2000)
    assert bench.enough(2599) == "2 ideas that it has claimed have not begun yet"
    assert bench.enough(2599, "robot-2") == ""
    assert bench.enough(2600) == "", "not for ever"
    bench._emit(2050, "stage_started", "I6", "robot-1", data={"stage": "literature"})
    assert bench.enough(2050) == ""
    bench.ready("I6", 2650)
    assert window.preparation_s(bench.state, START_S + 2650) == 600, "from the first stage on"


def test_an_idea_that_was_claimed_again_says_nothing_of_how_long_one_takes() -> None:
    bench = measured(600, 1005)
    again = bench.think("I6", 1000)
    bench._emit(1100, "station_up", station="robot-1")
    bench.claim(again, 1100)
    bench.ready("I6", 1101)  # its stages had finished before
    assert window.preparation_s(bench.state, START_S + 1200) == 600


def test_before_anything_is_known_two_ideas_are_begun_and_more_as_thinking_drags_on() -> None:
    bench = Bench()
    bench.think("I1", 0)
    assert bench.enough(1) == ""
    bench.think("I2", 0)
    assert bench.enough(1) == "2 of 2 ideas are under way"
    assert bench.enough(1000) == "", "they have taken longer than a trial takes, so more are needed"


def test_a_trial_that_has_left_its_robot_makes_room_for_the_next_idea() -> None:
    bench = Bench()
    for name in ("I1", "I2"):
        bench.think(name, 0)
        bench.ready(name, 1)
    bench.place("I1", 1, "robot-2")
    assert [work.work.iteration for work in window.ready(bench.state)] == ["I2"]
    assert bench.enough(2)
    bench._emit(3, "stage_started", "I1", "robot-1", data={"stage": "verify"})
    assert bench.enough(3) == ""
    assert bench.enough(3, "robot-2") == "", "a window belongs to the station that asks"


def test_settings_and_the_token_budget_make_it_smaller() -> None:
    bench = Bench(window=1)
    bench.think("I1", 0)
    assert bench.enough(5000) == "1 of 1 ideas are under way"
    bench = Bench()
    bench.think("I1", 0)
    assert bench.enough(1, most=1) == "1 of 1 ideas are under way"
    assert bench.enough(1, most=4) == ""
    poor = Bench(token_budget=2500, window=8)
    poor.think("I1", 0)
    poor.campaign._commit("I1", "I0", Proposal(status=ProposalStatus.OK, researcher="x"), "robot-1")
    poor._emit(1, "usage", "I1", "robot-1", data={"input_tokens": 1000, "output_tokens": 100})
    assert poor.enough(2) == ""
    poor.think("I2", 2)
    assert poor.enough(3) == "the token budget is needed for the ideas under way"


def test_ideas_that_come_to_nothing_slow_the_search_down_and_nothing_else() -> None:
    bench = Bench()
    bench.think("I1", 0)
    bench._emit(10, "iteration_ended", "I1", "robot-1", data={"status": "no_change"})
    assert bench.enough(10) == "", "once may be chance"
    bench.think("I2", 10)
    bench._emit(20, "iteration_ended", "I2", "robot-1", data={"status": "crashed"})
    assert bench.enough(20.9) == "the last 2 ideas came to nothing"
    assert bench.enough(21.1) == ""
    assert bench.enough(20.9, "robot-2") == ""
    for number in range(3, 20):
        bench.think(f"I{number}", 20)
        bench._emit(20 + number, "iteration_ended", f"I{number}", "robot-1", data={"status": "no_change"})
    assert bench.enough(39 + 29) == "the last 19 ideas came to nothing"
    assert bench.enough(39 + 31) == ""
    assert bench.enough(38) == "", "a clock that was set back holds nobody up"
    bench.think("I20", 70)
    bench._emit(80, "iteration_ended", "I20", "robot-1", data={"status": "decided"})
    assert bench.enough(80) == ""
