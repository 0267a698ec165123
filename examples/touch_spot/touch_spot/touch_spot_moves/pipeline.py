"""sense → move: one module per slot."""

import json
from pathlib import Path

import numpy as np

STEP_px = 40.0
"""The environment lets a target move this far in a control period."""


def read_params(checkpoint):
    """The knobs that training left."""
    return json.loads((Path(checkpoint) / "params.json").read_text())


class Pipeline:
    """Implements nightlab's Policy: reset, act, close."""

    def __init__(self, modules, params):
        self.modules, self.params = modules, params

    def reset(self, spec, seed):
        self.memory = {}
        self.target = None

    def act(self, observation):
        finger = observation["finger_xy"]
        spot = self.modules["sense"].sense(observation["spot_xy"], self.memory, self.params)
        goal = self.modules["move"].move(finger, spot, self.params)
        before = finger if self.target is None else self.target
        self.target = np.clip(before + np.clip(goal - before, -STEP_px, STEP_px), 0.0, 240.0)
        return [{"target_xy": self.target}]

    def close(self):
        pass
