"""What happened in one episode and what the verifier said of it."""

from __future__ import annotations

from nightlab.records.base import Clock, EpisodeEnd, Outcome, Record, SeedPool


class Predicate(Record):
    """One named condition of success."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    passed: bool
    unit: str = ""


class Verdict(Record):
    """The frozen verifier's judgement of one episode."""

    outcome: Outcome
    score: float
    """In [0, 1]; for Push-T the smallest coverage over the judged frames."""
    reason: str
    predicates: tuple[Predicate, ...] = ()
    latency_s: float = 0.0
    verifier_sha256: str = ""
    cameras: dict[str, str] = {}
    """What each camera alone says in the end: `success`, `failure`, or `unsure` (in the guard band, or blind)."""
    extra_frames: int = 0
    """Frames taken beyond the usual ones because the first look was unsure."""


class ResetReport(Record):
    """What a reset achieved."""

    success: bool
    attempts: int
    duration_s: float
    """Station seconds."""
    rejected_starts: int = 0
    """Drawn starts that broke the sampling rule (overlap, wall) and were drawn again."""
    asked: dict[str, float]
    achieved: dict[str, float]
    distance: float
    """Distance of the achieved start from the asked one in the environment's own unit (see its spec)."""
    simulator_shortcut: bool = False
    reason: str = ""
    frames: tuple[str, ...] = ()
    """What the stored reset pictures show, in their order, e.g. `before top`, `after top`; see `EpisodeArrays.reset_jpeg`."""
    counts: dict[str, int] = {}
    """What the reset routine had to do, e.g. `extractions`, `handovers`, `pickups`."""


class EpisodeKey(Record):
    """Names an episode; one finished episode per key, whatever crashes. `attempt` rises only after UNSCORED."""

    campaign: str
    iteration: str
    idea: str
    station: str
    pool: SeedPool
    seed: int
    attempt: int = 0

    def text(self) -> str:
        """A string that is unique per key and safe as a file name."""
        return f"{self.campaign}-{self.iteration}-{self.idea}-{self.pool.value}-{self.seed}-{self.attempt}"


class EpisodeRecord(Record):
    """One finished episode, as the ledger keeps it. The arrays lie beside it (see data/episodes.py)."""

    key: EpisodeKey
    environment: str
    profile: str | None
    station_seed: int | None = None
    speed: float
    verdict: Verdict
    end: EpisodeEnd
    steps: int
    late: int = 0
    clamped: int = 0
    reset: ResetReport
    reset_begin: Clock
    rollout_begin: Clock
    rollout_end: Clock
    """`rollout_end` includes the frames held for the verifier. All three are stamped by the station server."""
    control_wall_s: float = 0.0
    """Wall seconds inside the control stream; with `steps / rate_hz` it gives the achieved speed."""
    policy_sha256: str
    fault: str = ""
    manifest_sha256: str = ""
    filmed: bool = False
