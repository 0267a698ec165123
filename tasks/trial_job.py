"""What a trial process is asked to do: one JSON file, paths and names only."""

from __future__ import annotations

from nightlab.records import CampaignSpec, Record, SeedPool, StationPlace


class PolicyFiles(Record):
    """Where a policy's code and checkpoint lie on this host."""

    idea: str
    code_dir: str
    checkpoint_dir: str
    sha256: str


class TrialJob(Record):
    """One trial on one station."""

    campaign: CampaignSpec
    iteration: str
    place: StationPlace
    places: tuple[StationPlace, ...] = ()
    """Where it may run: the keeper says which of these is free next. Empty: at `place`, whoever else waits for it."""
    ledger: str = ""
    """The lab's ledger; empty outside a campaign, where nobody tells the trial to stop."""
    keeper_socket: str
    verifier_socket: str
    candidate: PolicyFiles
    compare: bool = False
    """True: the sequential paired trial against the incumbent. False: just run `seeds`."""
    pool: SeedPool = SeedPool.SEARCH
    seeds: tuple[int, ...] = ()
    station_seed: int | None = None
    """Sample the simulated station anew with this seed for the trial (held-out stations), and restore it afterwards."""
    film: bool = True
    policy_secret: str = ""
    """Hides the episodes' seeds in the seeds that policies get; see `tasks.episode.policy_seed`."""
    hearts_dir: str = ""
    """Where the trial's heartbeat is watched; empty outside a lab."""


class TrialResult(Record):
    """How a trial ended. The episodes themselves are in the ledger."""

    iteration: str
    episodes: int
    stopped: str
    """Why no further episode was run: `all seeds`, `early: …`, `promising: confirmed`, `station fault: …`."""
    unscored: int = 0
    achieved_speed: float | None = None
    late_share: float = 0.0
    manifest_sha256: str = ""
