"""Push-T's pipeline under its first name, which the policies of earlier labs import; see `push_t/pipeline.py`."""

from policies.library.push_t.pipeline import MAX_STEP_PX, SLOTS, Pipeline
from policies.library.recipe import read_params

__all__ = ["MAX_STEP_PX", "SLOTS", "Pipeline", "read_params"]
