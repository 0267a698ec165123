"""A discrete-event model of a fleet: what robots, researchers and training wait for. Pure; seconds of station time.

Each robot runs trials; each idea is thought of, trained and tried. With a window, ideas are prepared side by side and go
to whichever robot is free next (data/window.py, data/dispatch.py); without one (`published`), each robot has one
researcher that thinks, talks to its peers, trains and tries, one after the other. Coordination time grows with the fleet.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

PUBLISHED_MRU = {1: 0.4914, 4: 0.3087, 8: 0.2978}
"""Robot utilisation of ENPIRE's figure 7a at 1, 4 and 8 robots; its spread over runs is 0.25, 0.11 and 0.09."""


@dataclass(frozen=True, slots=True)
class FleetTimes:
    """What a fleet's stages take, seconds, and how it is run."""

    think_s: float
    """Median of a lognormal time."""
    think_sigma: float = 0.0
    train_s: float = 0.0
    trial_s: float = 25.0
    """Mean robot time of a trial, resets included."""
    trial_sigma: float = 0.0
    """Spread of its logarithm."""
    talk_s: Mapping[int, float] = field(default_factory=dict)
    """Coordination per idea by fleet size; between and beyond the given sizes along straight lines."""
    think_by_size_s: Mapping[int, float] = field(default_factory=dict)
    """Median think time by fleet size, where it is known; else `think_s`."""
    gap_s: float = 0.0
    """From the end of one trial to the beginning of the next on the same robot."""
    episode_s: float = 0.0
    """Length of one episode of filler work, which is never broken off; 0: robots idle instead."""
    filler_useful: float = 0.0
    """Share of filler work's time that counts as useful: of confirmations and of runs that trials are compared with."""
    window: int = 0
    """Ideas under way per robot; 0: ceil((think + train) / trial) + 1 and the one at the robot; -1: one after the other."""
    tokens: float = 9_300.0
    """Per idea of a lone researcher."""
    tokens_per_peer: float = 0.0
    """More of them per idea for each other researcher."""
    trials_to_success: float = 0.0
    """Trials that one robot needs on average; 0: success is not modelled."""
    steps_to_success: int = 88
    """Improvements, one upon the other, that make up success: a third of the trials, as published (28 of 86 ideas)."""
    prepared_s: tuple[float, ...] = ()
    """What the first ideas took from being begun to being ready for a robot, in this order; those after them are drawn."""
    tried_s: tuple[float, ...] = ()
    """Robot time of the first trials, in the order in which they began; those after them are drawn."""
    stale_worth: float = 0.1
    """Chance that an idea for an incumbent that has been improved meanwhile still helps, next to a fresh one's."""


PUBLISHED = FleetTimes(
    think_s=30.0, think_by_size_s={1: 30.0, 4: 35.0, 8: 40.0}, trial_s=25.0, talk_s={1: 5.0, 4: 8.0, 8: 12.0},
    window=-1, tokens=9_270.0, tokens_per_peer=1_890.0, trials_to_success=270.0,
)  # fmt: skip
"""30/35/40 s of thinking, 25 s of execution and 5/8/12 s of communication at 1/4/8 robots; 4.5 h to success with one."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the model says of one fleet."""

    stations: int
    mru: float
    """Share of robot time in trials and filler work, after the warm-up."""
    useful_share: float
    """Of that, trials and useful filler work."""
    window: int
    warm_up_s: float
    trials: int
    time_to_success_s: float | None
    tokens_to_success: float | None
    tokens_per_minute: float
    mru_range: tuple[float, float] = (0.0, 0.0)
    """Between these lie nine of ten runs of this length; of several runs only (`forecast`)."""
    useful_share_range: tuple[float, float] = (0.0, 0.0)


def along(table: Mapping[int, float], n: int) -> float:
    """A number by fleet size: straight lines between the known sizes and on from the last two; 0 for an empty table."""
    known = sorted(table.items())
    if not known:
        return 0.0
    if len(known) == 1:
        return known[0][1]
    at = next((i for i in range(1, len(known)) if n <= known[i][0]), len(known) - 1)
    (n_a, a), (n_b, b) = known[at - 1], known[at]
    return max(0.0, a + (b - a) * (n - n_a) / (n_b - n_a))


def window_of(times: FleetTimes, stations: int) -> int:
    """Ideas under way per robot, the one at the robot included; see data/window.py."""
    if times.window:
        return max(1, times.window)
    mean_s = _think_s(times, stations) * math.exp(times.think_sigma**2 / 2) + along(times.talk_s, stations)
    ratio = (mean_s + times.train_s) / (times.trial_s + times.gap_s)
    return math.ceil(ratio) + (2 if ratio >= 1 else 1)


def simulate(
    times: FleetTimes, stations: int, *, horizon_s: float = 0.0, warm_up_s: float = 0.0, seed: int = 0
) -> Forecast:
    """Run one fleet until `horizon_s` of station time, at least until it has succeeded where that is modelled.

    Args:
        times: what the stages take.
        stations: robots, 1 or more.
        horizon_s: how long utilisation is measured after the warm-up; 0: 150 trials per robot.
        warm_up_s: left out of utilisation; below 0: until every robot has begun a trial, at most twice an idea's whole time.
        seed: of every random draw.
    """
    return Fleet(times, stations, random.Random(seed)).run(horizon_s or 150 * times.trial_s, warm_up_s)


class Fleet:
    """One run of `simulate`."""

    def __init__(self, times: FleetTimes, stations: int, rng: random.Random) -> None:
        self.times, self.stations, self.rng = times, stations, rng
        self.alone = times.window < 0
        self.window = window_of(times, stations)
        self.events: list[tuple[float, int, str, int, int, int]] = []
        """(at, order, what, robot, robot that asked for the idea, generation of the idea's parent)."""
        self.order = count()
        self.under_way = [0] * stations
        self.ready: list[list[tuple[int, int]]] = [[] for _ in range(stations)] if self.alone else [[]]
        """(robot that asked, generation) of the ideas that wait for a robot; one queue, or one per robot."""
        self.idle = set(range(stations))
        self.generation = 0
        self.spans: list[tuple[int, float, float, bool]] = []
        """(robot, begin, end, whether it is a trial)."""
        self.ideas = self.begun_trials = self.trials = 0
        self.success_s: float | None = None
        self.success_tokens = 0.0
        self.now_s = 0.0
        self.begun: set[int] = set()
        """Robots that have begun a trial."""

    def run(self, horizon_s: float, warm_up_s: float) -> Forecast:
        for robot in range(self.stations):
            self._prepare(robot)
            self._begin(robot)
        wants_success = self.times.trials_to_success > 0
        if warm_up_s < 0:
            whole_s = _think_s(self.times, self.stations) + self.times.train_s + self.times.trial_s
            while len(self.begun) < self.stations and self.events[0][0] < 2 * whole_s:
                self._step()
            warm_up_s = self.now_s if len(self.begun) == self.stations else 2 * whole_s
        end_s = warm_up_s + horizon_s
        while self.events and (self.events[0][0] < end_s or (wants_success and self.success_s is None)):
            self._step()
        filler = self.times.filler_useful
        busy = [(max(b, warm_up_s), min(e, end_s), 1.0 if trial else filler) for _, b, e, trial in self.spans]
        total_s = sum(e - b for b, e, _ in busy if e > b)
        useful_s = sum((e - b) * worth for b, e, worth in busy if e > b)
        return Forecast(
            stations=self.stations,
            mru=total_s / (self.stations * horizon_s),
            useful_share=useful_s / total_s if total_s else 0.0,
            window=self.window,
            warm_up_s=warm_up_s,
            trials=self.trials,
            time_to_success_s=self.success_s,
            tokens_to_success=self.success_tokens if self.success_s is not None else None,
            tokens_per_minute=60 * self.ideas * self._tokens() / max(self.now_s, 1.0),
        )

    def _step(self) -> None:
        self.now_s, _, what, *where = heapq.heappop(self.events)
        getattr(self, f"_{what}")(*where)

    def _tokens(self) -> float:
        return self.times.tokens + self.times.tokens_per_peer * (self.stations - 1)

    def _at(self, in_s: float, what: str, robot: int, origin: int = 0, generation: int = 0) -> None:
        heapq.heappush(self.events, (self.now_s + in_s, next(self.order), what, robot, origin, generation))

    def _queue(self, robot: int) -> list[tuple[int, int]]:
        return self.ready[robot if self.alone else 0]

    def _prepare(self, origin: int) -> None:
        """Begin ideas until the robot's window is full."""
        while self.under_way[origin] < self.window:
            self._at(self._prepares_s(), "prepared", origin, origin, self.generation)
            self.under_way[origin] += 1
            self.ideas += 1

    def _prepares_s(self) -> float:
        """What the next idea takes until it is ready for a robot."""
        times = self.times
        if self.ideas < len(times.prepared_s):
            return times.prepared_s[self.ideas]
        think_s = _think_s(times, self.stations) * math.exp(self.rng.gauss(0.0, times.think_sigma))
        return think_s + along(times.talk_s, self.stations) + times.train_s

    def _tries_s(self) -> float:
        """What the next trial takes at its robot."""
        times = self.times
        self.begun_trials += 1
        if self.begun_trials <= len(times.tried_s):
            return times.tried_s[self.begun_trials - 1]
        return times.trial_s * math.exp(self.rng.gauss(-(times.trial_sigma**2) / 2, times.trial_sigma))

    def _prepared(self, robot: int, origin: int, generation: int) -> None:
        self._queue(robot).append((origin, generation))
        free = self.idle & {robot} if self.alone else self.idle
        if free:
            self._begin(min(free))

    def _begin(self, robot: int, _origin: int = 0, _generation: int = 0) -> None:
        """Give a robot the oldest ready idea; filler work if there is none."""
        queue, times = self._queue(robot), self.times
        self.idle.discard(robot)
        if queue:
            origin, generation = queue.pop(0)
            self.begun.add(robot)
            trial_s = self._tries_s()
            begin_s = self.now_s + times.gap_s
            self.spans.append((robot, begin_s, begin_s + trial_s, True))
            self._at(times.gap_s + trial_s, "tried", robot, origin, generation)
        elif times.episode_s > 0:
            self.spans.append((robot, self.now_s, self.now_s + times.episode_s, False))
            self._at(times.episode_s, "begin", robot)
        else:
            self.idle.add(robot)

    def _tried(self, robot: int, origin: int, generation: int) -> None:
        self.trials += 1
        self._judge(generation)
        self.under_way[origin] -= 1
        self._begin(robot)
        self._prepare(origin)

    def _judge(self, generation: int) -> None:
        """An idea helps with the chance that makes `trials_to_success` trials of a lone robot; less if it is stale."""
        times = self.times
        if times.trials_to_success <= 0 or self.success_s is not None:
            return
        chance = min(1.0, times.steps_to_success / times.trials_to_success)
        if self.rng.random() < chance * (1.0 if generation == self.generation else times.stale_worth):
            self.generation += 1
            if self.generation >= times.steps_to_success:
                self.success_s, self.success_tokens = self.now_s, self.ideas * self._tokens()


def _think_s(times: FleetTimes, stations: int) -> float:
    return along(times.think_by_size_s, stations) or times.think_s


def forecast(
    times: FleetTimes, sizes: Sequence[int], *, runs: int = 20, horizon_s: float = 0.0, warm_up_s: float = 0.0,
    seed: int = 0,
) -> list[Forecast]:  # fmt: skip
    """Means over `runs` simulated fleets of each size, and how far single runs lie apart; the median of what success takes."""
    found = []
    for size in sizes:
        made = [simulate(times, size, horizon_s=horizon_s, warm_up_s=warm_up_s, seed=seed + run) for run in range(runs)]

        def mean(name: str, made: list[Forecast] = made) -> float:
            return float(sum(getattr(one, name) for one in made) / len(made))

        def middle(name: str, made: list[Forecast] = made) -> tuple[float, float]:
            values = sorted(getattr(one, name) for one in made)
            out = len(values) // 20
            return values[out], values[-1 - out]

        times_s = sorted(one.time_to_success_s for one in made if one.time_to_success_s is not None)
        tokens = sorted(one.tokens_to_success for one in made if one.tokens_to_success is not None)
        found.append(
            replace(
                made[0], mru=mean("mru"), useful_share=mean("useful_share"), trials=round(mean("trials")),
                tokens_per_minute=mean("tokens_per_minute"), warm_up_s=mean("warm_up_s"),
                mru_range=middle("mru"), useful_share_range=middle("useful_share"),
                time_to_success_s=times_s[len(times_s) // 2] if times_s else None,
                tokens_to_success=tokens[len(tokens) // 2] if tokens else None,
            )
        )  # fmt: skip
    return found


def speed_up_alpha(speed_ups: Mapping[int, float]) -> float:
    """α of the law S(N) = N / (1 + α (N − 1)), least squares on N / S − 1 = α (N − 1).

    Args:
        speed_ups: fleet size → time of one robot over time of N.
    """
    pairs = [(n - 1, n / s - 1) for n, s in speed_ups.items() if n > 1 and s > 0]
    below = sum(x * x for x, _ in pairs)
    return sum(x * y for x, y in pairs) / below if below else 0.0
