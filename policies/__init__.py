"""Policies: the sandboxed runtime, its host, the trainer, and the library of modules that researchers combine."""
