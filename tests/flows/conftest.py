import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
IDEAS = Path(__file__).with_name("ideas.yaml")


def nightlab(*arguments: object, timeout_s: float = 280.0, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own and check its exit status."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONDONTWRITEBYTECODE", "NIGHTLAB_LAB")
    }
    done = subprocess.run(
        [sys.executable, "-m", "commands.main", *map(str, arguments)],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    if code is not None:
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


class Finished:
    """A lab after its campaign, and the report the run printed."""

    def __init__(self, path: Path, report: dict[str, Any], log: str) -> None:
        self.path, self.report, self.log = path, report, log

    def events(self, kind: str) -> list[Any]:
        from data.ledger import LedgerReader

        return LedgerReader(self.path / "ledger.db").events(kind=kind)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One whole campaign with the scripted researcher; every test of this folder looks at the same one."""
    path = tmp_path_factory.mktemp("campaign") / "lab"
    done = nightlab(
        "run", "push_t", "--stations", 2, "--researcher", f"scripted:{IDEAS}", "--budget", "180s", "--held-out", 12, "--speed", 20,
        "--lab", path, "--seed", 3, "--json",
    )  # fmt: skip
    return Finished(path, json.loads(done.stdout.strip().splitlines()[-1]), done.stderr)
