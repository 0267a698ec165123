"""What LeRobot's command line takes for a robot of type `nightlab`."""

from dataclasses import dataclass

from lerobot.robots.config import RobotConfig


@RobotConfig.register_subclass("nightlab")
@dataclass(kw_only=True)
class NightlabConfig(RobotConfig):  # type: ignore[misc]
    """A station by its address."""

    address: str
    """`host:port` or `unix:/path`, as `nightlab station serve` says it."""
    keys: str = ""
    """Folder with certificate and token (`nightlab station keys`); a station on loopback needs none."""
    holder: str = "lerobot"
    """Who holds the lease, as others see it."""
    wait_s: float = 10.0
    """How long to wait for the lease."""
    images: bool = True
    """Whether the station's cameras are part of the observation."""
