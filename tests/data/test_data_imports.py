from __future__ import annotations

import subprocess
import sys

import pytest

from data.testing import PROJECT


@pytest.mark.parametrize(
    "module", ["data.keeper", "data.keeper_client", "data.lab", "data.recorder", "data.git_reader"]
)
def test_the_processes_beside_the_robots_are_light(module: str) -> None:
    heavy = ("torch", "lerobot", "prefect", "grpc", "pandas", "dvc")
    script = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
