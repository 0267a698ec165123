"""Trust the sensor of the moment."""


def sense(spot, memory, params):
    return spot
