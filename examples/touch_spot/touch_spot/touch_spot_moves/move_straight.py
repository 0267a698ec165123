"""Go there."""


def move(finger, spot, params):
    return spot
