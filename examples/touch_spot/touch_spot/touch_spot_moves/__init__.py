"""Modules that policies of touch_spot may combine, and the pipeline that runs them. Mounted in the sandbox."""
