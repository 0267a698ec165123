"""Seeds derived from names: the same words give the same seed on every machine, unlike Python's `hash`."""

from __future__ import annotations

import hashlib


def derive(*words: object) -> int:
    """A 31-bit non-negative seed from the words' text (first 4 bytes of SHA-256, top bit dropped)."""
    digest = hashlib.sha256("\x1f".join(map(str, words)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
