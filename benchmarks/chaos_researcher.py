"""The researcher of the chaos runs: a program in the sandbox that thinks for a moment and proposes a short episode.

Its policy pushes for a few control periods and says that it is done, so trials are quick; its training takes two seconds,
so that there is time to hit it, on a slow host too.
"""

import random
import time
from pathlib import Path

THINK_S, TRAIN_S = 0.7, 2.0
POLICY = '''
import numpy as np


class Policy:
    """Drives to {x}, {y} px for {steps} control periods."""

    def reset(self, spec, seed):
        self.left = {steps}

    def act(self, observation):
        self.left -= 1
        if self.left < 0:
            return None
        here = np.asarray(observation["agent_xy"], dtype=float)
        return [{{"target_xy": here + np.clip(np.array([{x}, {y}]) - here, -20.0, 20.0)}}]

    def close(self):
        pass


def make_policy(checkpoint):
    return Policy()
'''

draw = random.SystemRandom()
time.sleep(THINK_S)
text = POLICY.format(x=draw.randint(100, 400), y=draw.randint(100, 400), steps=draw.randint(20, 40))
Path("policy.py").write_text(text)
train = Path("train.py").read_text()
if "time.sleep" not in train:
    Path("train.py").write_text(f"import time\n\ntime.sleep({TRAIN_S})\n" + train.replace("from __future__", "# from"))
