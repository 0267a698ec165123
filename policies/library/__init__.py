"""Modules that a researcher can combine into a policy. Runs in the sandbox: numpy, pymunk, nightlab.geometry only."""
