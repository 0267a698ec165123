"""Flows: campaign, station, iteration and replay. Prose that reads top to bottom; the work is in `tasks`."""
