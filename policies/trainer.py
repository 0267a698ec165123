"""Runs an idea's `train.py` in a sandbox and takes the checkpoint it leaves: plain files only, hashed.

`python train.py --out DIR` may write JSON, YAML, msgpack and safetensors. Anything that could run code when it is read
back (pickles, scripts, symlinks) is refused, since trusted code never opens an agent's pickle.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from nightlab.errors import PolicyError
from nightlab.priority import NICE, yield_session
from nightlab.processes import kill_group, until_stopped
from nightlab.records import Checkpoint
from nightlab.sandbox import Level, Limits
from policies.jail import Jail
from policies.output import Output

ALLOWED: Final = (".json", ".yaml", ".yml", ".msgpack", ".safetensors")
"""File types that a checkpoint may hold."""
MAX_FILES: Final = 1000
MAX_MIB: Final = 2048
"""Size of a checkpoint, looked at every `WATCH_S` while it is made."""
KEPT_CHARACTERS: Final = 4000
"""Of the log, from its end, in the record."""
WATCH_S: Final = 1.0
OUTPUT_BYTES: Final = 16 * 1024 * 1024
"""What training may print; its end is kept."""
TRAINER_LIMITS: Final = Limits(memory_mib=16384, cpu_s=48 * 3600, file_mib=MAX_MIB, open_files=1024, processes=0)


class SandboxedTrainer:
    """Implements `nightlab.contracts.Trainer`.

    Args:
        level: Level of containment; by default the strongest that works here.
        limits: Resources. Without `processes` no child processes: a torch DataLoader needs `num_workers=0`.
    """

    def __init__(self, level: Level | None = None, limits: Limits = TRAINER_LIMITS) -> None:
        self.level, self.limits = level, limits

    async def train(self, workspace: Path, out: Path, *, budget_s: float) -> Checkpoint:
        """Run `workspace/train.py --out OUT`; the workspace is read-only, `out` must exist and be empty.

        Raises:
            PolicyError: it failed, took longer than `budget_s` wall seconds, or left something that is no checkpoint.
        """
        workspace, out = workspace.resolve(), out.resolve()
        if not (workspace / "train.py").is_file():
            raise PolicyError(f"{workspace} has no train.py; add one that takes --out DIR")
        if not out.is_dir() or any(out.iterdir()):
            raise PolicyError(f"{out} must be an empty directory to train into")
        jail = Jail(self.level)
        try:
            log = await self._run(jail, workspace, out, budget_s)
        finally:
            jail.close()
        return Checkpoint(path=out.name, sha256=checkpoint_sha256(out), log=log)

    async def _run(self, jail: Jail, workspace: Path, out: Path, budget_s: float) -> str:
        inside = jail.sandbox.inside
        argv = jail.argv(
            {"mode": "train", "code": inside(workspace, "/code"), "argv": ["--out", inside(out, "/out")], "nice": NICE},
            read_only=[(workspace, "/code")],
            read_write=[(out, "/out")],
            limits=self.limits,
        )
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        yield_session(process.pid)
        assert process.stdout is not None
        doom: list[str] = []

        def stop(reason: str) -> None:
            doom.append(reason)
            kill_group(process.pid)

        output = Output(process.stdout, OUTPUT_BYTES, lambda: stop("printed more than 16 MiB"))
        watch = asyncio.create_task(_watch(out, stop))
        idle = asyncio.create_task(_watch_stopped(process.pid, stop))
        try:
            async with asyncio.timeout(budget_s):
                code = await process.wait()
        except TimeoutError:
            raise PolicyError(f"train.py took longer than {budget_s:g} s and was killed") from None
        finally:
            watch.cancel()
            idle.cancel()
            kill_group(process.pid)
            await process.wait()
            await output.finish()
        if doom:
            raise PolicyError(f"train.py {doom[0]} and was killed")
        if code != 0:
            raise PolicyError(f"train.py ended with code {code}: {output.last_line or 'it printed nothing'}")
        return output.text[-KEPT_CHARACTERS:]


async def _watch(out: Path, stop: Callable[[str], None]) -> None:
    """Stop training that fills the disk."""
    while True:
        await asyncio.sleep(WATCH_S)
        size = sum(entry.st_size for _, entry in _entries(out))
        if size > MAX_MIB * 1024 * 1024:
            stop(f"wrote more than {MAX_MIB} MiB")
            return


async def _watch_stopped(pid: int, stop: Callable[[str], None]) -> None:
    """End training that was stopped by a signal, rather than wait for its budget."""
    await until_stopped(pid)
    stop("was stopped by a signal")


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything in a folder but directories, without following a link."""
    for top, directories, files in os.walk(folder, followlinks=False):
        for name in [*files, *(name for name in directories if (Path(top) / name).is_symlink())]:
            with contextlib.suppress(FileNotFoundError):
                yield Path(top) / name, (Path(top) / name).lstat()


def checkpoint_sha256(folder: Path, *, versioned: bool = False) -> str:
    """SHA-256 over path, size and content of a checkpoint's files, in sorted order.

    `versioned`: the lab has it in DVC, whose cache holds the same files by hard links; training must not leave any.

    Raises:
        PolicyError: there is no config.json, a file is a link or of a type that is not allowed, or it is too large.
    """
    entries = sorted(_entries(folder))
    if not any(path == folder / "config.json" for path, _ in entries):
        left = ", ".join(path.name for path, _ in entries[:20]) or "nothing"
        raise PolicyError(f"train.py left no config.json in its --out directory; it left: {left}")
    total = sum(status.st_size for _, status in entries)
    if len(entries) > MAX_FILES or total > MAX_MIB * 1024 * 1024:
        raise PolicyError(
            f"the checkpoint has {len(entries)} files of {total >> 20} MiB; at most {MAX_FILES}, {MAX_MIB}"
        )
    digest = hashlib.sha256()
    for path, status in entries:
        name = path.relative_to(folder).as_posix()
        if not stat.S_ISREG(status.st_mode) or (status.st_nlink > 1 and not versioned):
            raise PolicyError(f"the checkpoint holds {name!r}, a link or special file; only plain files are taken")
        if path.suffix not in ALLOWED:
            raise PolicyError(f"the checkpoint holds {name!r}; file types taken are: {', '.join(ALLOWED)}")
        digest.update(f"{name}\0{status.st_size}\0".encode())
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as content:
            while part := content.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()
