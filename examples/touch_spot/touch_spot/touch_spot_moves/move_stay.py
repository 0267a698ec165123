"""Stay where you are: where the search begins."""


def move(finger, spot, params):
    return finger
