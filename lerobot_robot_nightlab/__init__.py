r"""LeRobot plug-in: a nightlab station is a LeRobot robot of type `nightlab`, so that LeRobot's own tools drive it.

    lerobot-teleoperate --robot.discover_packages_path=lerobot_robot_nightlab \\
        --robot.type=nightlab --robot.address=127.0.0.1:5555 --teleop.type=so101_leader …

The station's lease, safety filter and e-stop stay in charge: LeRobot gets no further than any other holder of a lease.
"""

from lerobot_robot_nightlab.config_nightlab import NightlabConfig
from lerobot_robot_nightlab.nightlab import Nightlab

__all__ = ["Nightlab", "NightlabConfig"]
