"""Drivers: what a station server commands. `simulated` now; real arms and cameras beside it."""
