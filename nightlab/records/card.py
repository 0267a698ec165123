"""An environment's card: what the rest of the house needs to know of it. Read from its `environment.yaml`."""

from __future__ import annotations

from pydantic import Field

from nightlab.records.base import Record


class FailureKind(Record):
    """One word that the verifier says of a failure, and what it suggests to a researcher."""

    meaning: str
    words: str = ""
    """What a reader would search the literature for; empty: the name itself."""
    families: tuple[str, ...] = ()
    """Families of ideas that it speaks for."""


class DatasetColumn(Record):
    """One vector of the recorded dataset that is not simply every observation channel in a row."""

    channel: str
    """Observation channel that it comes from, [T, …]."""
    names: tuple[str, ...] = ()
    """Name of each element, unit included; empty: the channel's name and a number."""
    transform: str = ""
    """`module:function` from [T, …] of the channel to [T, width]; empty: the channel itself."""


class EnvironmentCard(Record):
    """Everything about an environment that other rooms use without importing its code."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    """As people say it: `Push-T`."""
    goal: str
    """One sentence without a full stop: what researchers are told, and the first query to the literature."""
    world: str
    """The simulated station that it runs on; see robots/worlds."""
    rate_hz: float = Field(gt=0)
    """Control rate of its stations."""
    speed: float = Field(default=10.0, gt=0)
    """Times real time that its simulated stations run where nobody says otherwise: what two of them reach on two cores."""
    held_out_n: int = Field(default=400, ge=1)
    """Held-out episodes of a final measurement where nobody says otherwise."""
    success: str
    """One sentence: what the verifier asks for."""
    reset: str
    """One sentence: how a station comes to a new start."""
    picture: str = "picture.png"
    """In its folder: what the station's camera sees."""
    start_unit: str = ""
    """Unit of `ResetReport.distance`."""
    task: str = ""
    """Sentence in the recorded datasets; empty: the goal."""
    camera: str = "top"
    """The camera that is filmed: the station's first."""
    columns: dict[str, DatasetColumn] = {}
    """LeRobot feature → where it comes from. Empty: `observation.state` is every channel in a row."""
    failures: dict[str, FailureKind] = {}
    """What `Verdict.reason` can say of a FAILURE."""
    template: str = ""
    """Folder of the researcher's first workspace, relative to the card; empty: research/<name> of the project."""
    library: str = ""
    """Package of modules that policies may import, relative to the card, with `catalogue.yaml` in it; it is mounted in
    the sandbox under its own name. Empty: policies/library/<name> of the project."""
    bibliography: str = ""
    """More literature, relative to the card, in the form of agents/bibliography.yaml."""

    @property
    def sentence(self) -> str:
        """What the policy was to do, for datasets."""
        return self.task or self.goal
