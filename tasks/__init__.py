"""Stages of an iteration, one file each: literature, propose, train, deploy, rollout, verify, summarize."""
