"""Training in the sandbox: what a checkpoint may hold, and what becomes of a train.py that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

import psutil
import pytest

from nightlab.errors import PolicyError
from nightlab.records import Checkpoint
from nightlab.sandbox import Level, _trouble
from policies.trainer import SandboxedTrainer, checkpoint_sha256
from tasks.integrity import check_checkpoint

ENABLED = Path("/proc/sys/kernel/sched_autogroup_enabled")
AUTOGROUP = ENABLED.exists() and ENABLED.read_text().strip() == "1"
LEVELS: tuple[Level, ...] = tuple(level for level in ("bwrap", "landlock", "rlimits") if _trouble(level) is None)  # type: ignore[misc]
GOOD = "(out / 'config.json').write_text('{}')"


def train(folder: Path, body: str, *, level: Level | None = None, budget_s: float = 20.0) -> Checkpoint:
    """Train with a `train.py` that parses --out and runs `body`."""
    code, out = folder / "code", folder / "out"
    code.mkdir(exist_ok=True)
    out.mkdir(exist_ok=True)
    (code / "params.yaml").write_text("gain: 2.5\n")
    (code / "train.py").write_text(
        "import argparse, os, sys, time\nfrom pathlib import Path\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--out', type=Path, required=True)\nout = parser.parse_args().out\n" + body + "\n"
    )
    return asyncio.run(SandboxedTrainer(level).train(code, out, budget_s=budget_s))


@pytest.mark.parametrize("level", LEVELS)
def test_a_checkpoint_is_made_and_named_by_its_content(tmp_path: Path, level: Level) -> None:
    body = (
        "import shutil, tempfile, numpy, safetensors.numpy as st, yaml\n"
        "assert __name__ == '__main__'\n"
        "tempfile.TemporaryFile().write(b'x')\n"
        "(out / 'params.yaml').write_text(Path('params.yaml').read_text())\n"
        "shutil.copyfile(Path(__file__).with_name('params.yaml'), out / 'copy.yaml')\n"
        "(out / 'parts').mkdir(); st.save_file({'w': numpy.ones(3)}, out / 'parts' / 'model.safetensors')\n"
        f"{GOOD}; print('loss 0.5'); exit(0)"
    )
    made = train(tmp_path, body, level=level)
    assert made.path == "out"
    assert made.log.strip() == "loss 0.5"
    assert made.sha256 == checkpoint_sha256(tmp_path / "out")
    assert (tmp_path / "out" / "copy.yaml").read_text() == "gain: 2.5\n"
    (tmp_path / "out" / "params.yaml").write_text("gain: 2.6\n")
    assert checkpoint_sha256(tmp_path / "out") != made.sha256


@pytest.mark.skipif(not AUTOGROUP, reason="this kernel does not share the processor among sessions")
@pytest.mark.parametrize("level", LEVELS)
def test_training_waits_where_a_robot_wants_the_processor(tmp_path: Path, level: Level) -> None:
    read = "print(Path('/proc/self/autogroup').read_text())" if level == "bwrap" else "time.sleep(3)"

    async def main() -> str:
        training = asyncio.create_task(asyncio.to_thread(train, tmp_path, f"{read}; {GOOD}", level=level))
        while level != "bwrap" and not training.done():  # it may not see /proc: looked at from outside
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(OSError):
                    group = Path(f"/proc/{process.pid}/autogroup").read_text()
                    if group.split()[-1] == "10":
                        await training
                        return group
            await asyncio.sleep(0.05)
        return (await training).log

    assert asyncio.run(main()).split()[-2:] == ["nice", "10"]


def test_dvc_holds_a_checkpoint_by_hard_links_which_training_must_not_leave(tmp_path: Path) -> None:
    checkpoint = tmp_path / "I1"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text("{}")
    before = checkpoint_sha256(checkpoint)
    (tmp_path / "cache").hardlink_to(checkpoint / "config.json")
    with pytest.raises(PolicyError, match=r"holds 'config\.json', a link or special file"):
        checkpoint_sha256(checkpoint)
    assert checkpoint_sha256(checkpoint, versioned=True) == before
    check_checkpoint(checkpoint, before)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("pass", r"left no config.json in its --out directory; it left: nothing"),
        (GOOD + "; (out / 'model.pt').write_bytes(b'x')", r"holds 'model.pt'; file types taken are: .json, .yaml"),
        (GOOD + "; (out / 'run.py').write_text('x')", r"holds 'run.py'; file types"),
        (GOOD + "; os.symlink('/etc/shadow', out / 'params.yaml')", r"holds 'params.yaml', a link or special file"),
        (GOOD + "; os.symlink('/etc', out / 'd.json')", r"holds 'd.json', a link or special file"),
        (GOOD + "; os.link(out / 'config.json', out / 'b.json')", r"a link or special file"),
        (GOOD + "; os.mkfifo(out / 'p.json')", r"holds 'p.json', a link or special file"),
        ("raise ValueError('no data')", r"train.py ended with code 1: ValueError: no data"),
        ("sys.exit(3)", r"train.py ended with code 3: it printed nothing"),
        ("os.fork()", r"PermissionError: .*not permitted"),
        ("while True: print('x' * 100_000)", r"train.py printed more than 16 MiB and was killed"),
        ("open('params.yaml', 'w')", r"(Read-only file system|Permission denied)"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        train(tmp_path, body)


def test_training_ends_at_its_budget(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(PolicyError, match=r"train.py took longer than 0.5 s and was killed"):
        train(tmp_path, "time.sleep(1000)", budget_s=0.5)
    assert time.monotonic() - begin < 5


def test_cancelled_training_leaves_no_process(tmp_path: Path) -> None:
    code, out = tmp_path / "code", tmp_path / "out"
    code.mkdir()
    out.mkdir()
    (code / "train.py").write_text("import time; time.sleep(1000)")

    async def main() -> None:
        task = asyncio.create_task(SandboxedTrainer().train(code, out, budget_s=60))
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(main())
    assert not [name for name in os.listdir("/proc") if name.isdigit() and str(code).encode() in _cmdline(name)]


def _cmdline(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_what_cannot_be_trained_says_so(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(PolicyError, match=r"has no train.py; add one that takes --out DIR"):
        asyncio.run(SandboxedTrainer().train(tmp_path, tmp_path / "out", budget_s=1))
    (tmp_path / "train.py").write_text("")
    with pytest.raises(PolicyError, match=r"must be an empty directory to train into"):
        asyncio.run(SandboxedTrainer().train(tmp_path, tmp_path, budget_s=1))
