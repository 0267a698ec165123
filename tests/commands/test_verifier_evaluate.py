"""`nightlab verifier evaluate` for real at a small scale: figures, kept cases, and nothing left behind when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands.progress import Progress
from commands.verifier_evaluate import LIMITS, cpu_s, passed
from environments import signing
from nightlab.processes import ProcessId

PROJECT = Path(signing.__file__).parents[1]
ARGV = [sys.executable, "-m", "commands.main", "verifier", "evaluate", "push_t"]
STARTED = """
import asyncio, pathlib, sys, time
from commands.verifier_evaluate import start_verifier
async def main():
    process = await start_verifier(pathlib.Path(sys.argv[1]))
    print(process.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
WAIT_S = 120.0


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, signing.KEY_VARIABLE: str(folder / "operator" / "operator.key")}
    return subprocess.run([*ARGV, *words], cwd=PROJECT, capture_output=True, text=True, env=env, timeout=600)


def test_the_command_measures_through_the_verifiers_own_process_and_keeps_its_cases(tmp_path: Path) -> None:
    done = run(tmp_path, "--n", "8", "--terminal", "2", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["n"], figures["parts"]["terminal"]["n"], figures["failed_resets"]) == (10, 2, 0)
    assert {"agreement", "false_positives", "false_negatives", "unsure_share", "guard_band"} <= set(figures)
    assert figures["false_positives"] == 0
    assert 0 < figures["latency_p50_s"] <= figures["latency_p95_s"]
    assert 0 < figures["cpu_s_per_frame"] < 0.03
    assert figures["agreement_wilson"][0] < figures["agreement_wilson"][1]
    for line in ("push_t: states 8/8", "push_t: episodes 2/2", "push_t: verdicts 10/10"):
        assert line in done.stderr
    cases = sorted((tmp_path / "operator" / "exams" / "push_t").glob("*/*.case"))
    assert len(cases) == 10
    written_s = [path.stat().st_mtime for path in cases]
    cases[0].unlink()
    again = run(tmp_path, "--n", "8", "--terminal", "2", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["n"] == 10
    assert [path.stat().st_mtime for path in cases[1:]] == written_s[1:], "only what is missing is made"
    assert "states 8/8" in again.stderr
    assert "episodes" not in again.stderr
    folders = sorted({path.parent for path in cases})
    told = {"part": "balanced", "n": 8, "folder": folders[0].name, "changed": []}
    assert told in json.loads(again.stdout)["cases"]
    made = json.loads((folders[0] / "made.json").read_text())
    made["files"]["robots/worlds/push_t.py"] = "0" * 64
    (folders[0] / "made.json").write_text(json.dumps(made))
    third = run(tmp_path, "--cases", str(folders[0]), "--json")
    assert third.returncode == 0, third.stderr
    assert json.loads(third.stdout)["cases"] == [{**told, "changed": ["robots/worlds/push_t.py"]}]
    assert json.loads(third.stdout)["parts"]["terminal"]["n"] == 0
    wrong = run(tmp_path, "--cases", str(tmp_path))
    assert wrong.returncode == 2
    assert "holds no kept cases" in wrong.stderr


def test_nothing_to_measure_is_refused(tmp_path: Path) -> None:
    refused = run(tmp_path, "--n", "0", "--terminal", "0")
    assert refused.returncode == 2
    assert "nothing to measure. Try: nightlab verifier evaluate push_t --n 500" in refused.stderr
    assert not (tmp_path / "operator").exists()


def test_the_verifier_ends_with_the_command_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTED, str(tmp_path)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        verifier = ProcessId.of(int(command.stdout.readline()))
        assert verifier.alive
        assert cpu_s(verifier.pid) > 0
        command.send_signal(signal.SIGKILL)
        command.wait(WAIT_S)
    deadline_s = time.monotonic() + WAIT_S
    while verifier.alive:
        assert time.monotonic() < deadline_s, "the verifier outlived the command that started it"
        time.sleep(0.05)


def test_sigterm_stops_it_in_order(tmp_path: Path) -> None:
    env = {**os.environ, signing.KEY_VARIABLE: str(tmp_path / "operator" / "operator.key")}
    command = subprocess.Popen(
        [*ARGV, "--n", "2000", "--terminal", "0"], cwd=PROJECT, stderr=subprocess.PIPE, text=True, env=env
    )
    deadline_s = time.monotonic() + WAIT_S
    while not list((tmp_path / "operator").glob("exams/push_t/*/*.case")):
        assert command.poll() is None, "it ended before it made a case"
        assert time.monotonic() < deadline_s, "no case was made"
        time.sleep(0.05)
    command.terminate()
    _, errors = command.communicate(timeout=WAIT_S)
    assert command.returncode == 143
    assert "stopped; the cases made so far are kept, the same command goes on" in errors
    assert "Traceback" not in errors


def test_passed_means_every_limit() -> None:
    good = {**LIMITS, "unscored": 0}
    assert passed(good)
    assert not passed({**good, "agreement": None})
    for key in LIMITS:
        worse = LIMITS[key] - 0.001 if key == "agreement" else LIMITS[key] + 0.001
        assert not passed({**good, key: worse}), key
    assert not passed({**good, "unscored": 1})


def test_progress_is_said_at_the_first_and_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("push_t: states", 500, 100)
    for done in (101, 102, 500):
        progress.at(done)
    said = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in said] == ["push_t: states 101/500", "push_t: states 500/500"]
    progress.at(200)
    assert progress.text(50.0) == "push_t: states 200/500, 50 s, about 150 s left"
