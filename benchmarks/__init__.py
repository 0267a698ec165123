"""Measurements that back the numbers in docs/."""
