"""`nightlab station serve` and `clear` on the robot's own host: without keys, a token of its own clears the e-stop."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from commands.main import app
from tests.robots.waiting import until

ROOT = Path(__file__).parents[2]


def call(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        app(words)
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_only_the_operator_of_this_host_clears_a_station_without_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, ready = f"127.0.0.1:{free_port()}", tmp_path / "ready.json"
    config = tmp_path / "station.yaml"
    config.write_text(json.dumps({"station": "bench", "driver": "echo", "address": address}))
    argv = [sys.executable, "-m", "commands.main", "station", "serve", str(config), "--ready-file", str(ready)]
    server = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        assert until(ready.exists, 60.0), "the server did not get ready"
        token = tmp_path / ".nightlab-station" / "bench" / "operator.token"
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        assert call("estop", "--address", address, "--reason", "smoke", capsys=capsys)[0] == 0
        code, _, err = call("station", "clear", address, capsys=capsys)
        assert code == 2
        assert "only an operator clears an e-stop. On its host: nightlab station clear station.yaml" in err
        code, _, err = call("station", "clear", address, "--token-file", str(tmp_path / "no"), capsys=capsys)
        assert (code, f"--token-file {tmp_path / 'no'}: No such file" in err) == (2, True)
        code, out, _ = call("station", "clear", str(config), capsys=capsys)
        assert (code, "it was stopped by: smoke" in out) == (0, True)
        assert call("station", "clear", address, "--token-file", str(token), capsys=capsys)[0] == 0
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
