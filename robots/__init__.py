"""Stations: what they are, the service that runs them, its client, safety, simulated worlds and profiles."""
