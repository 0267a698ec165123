"""Touch the spot: an environment outside nightlab's repository."""

from touch_spot.environment import TouchSpot
from touch_spot.verify import TouchSpotVerifier

make_environment = TouchSpot
make_verifier = TouchSpotVerifier
