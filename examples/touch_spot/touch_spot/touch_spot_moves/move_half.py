"""Go a part of the way each time."""


def move(finger, spot, params):
    return finger + params.get("part", 0.3) * (spot - finger)
