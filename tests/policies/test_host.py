"""A policy that breaks its contract, in every way we could think of: one PolicyError that says so, nothing survives."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from nightlab.errors import PolicyError, SandboxError
from nightlab.processes import alive
from nightlab.records import Channel, LimitsSpec, StationSpec
from nightlab.sandbox import Level, _trouble
from nightlab.testing.policy import write_policy
from policies.host import PolicyProcess

SPEC = StationSpec(
    station_id="robot-1",
    kind="push_t",
    rate_hz=10,
    speed=10,
    simulated=True,
    observations=(Channel(key="agent_xy", shape=(2,), unit="px,px", low=(0, 0), high=(512, 512)),),
    actions=(Channel(key="target_xy", shape=(2,), unit="px,px", low=(0, 0), high=(512, 512)),),
    limits=LimitsSpec(action_low={"target_xy": (0, 0)}, action_high={"target_xy": (512, 512)}),
)
SEEN = {"agent_xy": np.array([100.0, 200.0])}
FOLLOW = 'return [{"target_xy": observation["agent_xy"]}]'
LEVELS: tuple[Level, ...] = tuple(level for level in ("bwrap", "landlock", "rlimits") if _trouble(level) is None)  # type: ignore[misc]
CONTAINED = tuple(level for level in LEVELS if level != "rlimits")
contained = pytest.mark.parametrize("level", CONTAINED)
everywhere = pytest.mark.parametrize("level", LEVELS)


def run(
    folder: Path,
    scenario: Callable[[PolicyProcess], Awaitable[None]],
    *,
    act: str = FOLLOW,
    reset: str = "pass",
    load: str = "",
    level: Level | None = None,
    act_deadline_s: float = 5.0,
) -> None:
    """Start the policy, let the scenario use it, close it, and see that its process is gone."""

    async def main() -> None:
        code, checkpoint = write_policy(folder, act=act, reset=reset, load=load)
        policy = await PolicyProcess.start(code, checkpoint, level=level, act_deadline_s=act_deadline_s)
        try:
            await scenario(policy)
        finally:
            await policy.close()
        assert not policy.alive
        assert policy._process is not None
        assert not alive(policy._process.pid)
        with pytest.raises(ProcessLookupError):
            os.killpg(policy._process.pid, 0)

    asyncio.run(main())


def fails(folder: Path, message: str, *, survives: bool, act_deadline_s: float = 5.0, **policy: str) -> None:
    """The first act raises a PolicyError that matches; the policy can or cannot be asked again."""

    async def scenario(running: PolicyProcess) -> None:
        await running.reset(SPEC, 1)
        with pytest.raises(PolicyError, match=message):
            await running.act(SEEN)
        assert running.alive == survives
        if survives:
            await running.reset(SPEC, 2)
        else:
            with pytest.raises(PolicyError, match="policy failed at reset"):
                await running.reset(SPEC, 2)

    run(folder, scenario, act_deadline_s=act_deadline_s, **policy)  # type: ignore[arg-type]


@everywhere
def test_a_policy_acts_until_it_is_done(tmp_path: Path, level: Level) -> None:
    async def scenario(policy: PolicyProcess) -> None:
        assert policy.level == level
        for seed in (7, 8):
            await policy.reset(SPEC, seed)
            chunk = await policy.act(SEEN)
            assert chunk is not None
            assert [action["target_xy"].tolist() for action in chunk] == [[100.0, 200.0], [512.0, float(seed)]]
            assert chunk[0]["target_xy"].flags.writeable
            assert await policy.act({"agent_xy": np.zeros(2)}) is None

    run(
        tmp_path,
        scenario,
        level=level,
        load="import tempfile\nwith tempfile.TemporaryFile() as scratch:\n    scratch.write(b'x')",
        reset="self.seed, self.high = seed, spec.limits.action_high['target_xy'][0]\n"
        "assert spec.actions[0].shape == (2,)",
        act='if not observation["agent_xy"].any():\n    return None\n'
        'return [{"target_xy": observation["agent_xy"]}, {"target_xy": [self.high, self.seed]}]',
    )


WRONG = [
    ("return [{'target_xy': [float('nan'), 1]}]", r"target_xy is not finite: \[nan, 1.0\]"),
    ("return [{'target_xy': [1, float('inf')]}]", r"target_xy is not finite: \[1.0, inf\]"),
    ("return [{'target_xy': [1, 2, 3]}]", r"target_xy has shape \(3,\), the station takes \(2,\)"),
    ("return [{'target_xy': 5.0}]", r"target_xy has shape \(\), the station takes \(2,\)"),
    ("return [{'velocity': [1, 2]}]", r"it gave channels velocity; there are: target_xy"),
    ("return [{}]", r"it gave channels none; there are: target_xy"),
    ("return []", r"it gave 0 actions; a chunk has 1 to 64"),
    ("return [{'target_xy': [1, 2]}] * 65", r"it gave 65 actions; a chunk has 1 to 64"),
    ("return 'north'", r"TypeError: act returns a list of actions or None, got str"),
    ("return [[1, 2]]", r"expected a mapping of channel names to arrays, got list"),
    ("return [{'target_xy': ['a', 'b']}]", r"channel target_xy is no array of numbers"),
    ("return [{3: [1, 2]}]", r"channel names are strings, got int 3"),
    ("return [{'target_xy': np.zeros(3_000_000)}]", r"a message of 240000\d\d bytes is longer"),
    ("return 1 / 0", r"policy failed at act: ZeroDivisionError: division by zero \(policy.py line \d+, in act\)"),
    ("raise SystemExit(0)", r"SystemExit: 0"),
    ("raise Exception('\\x1b[2J' + 'x' * 9999)", r"Exception: \?\[2Jx+…"),
]
"""Body of `act` → what the error says."""


def test_the_collector_does_not_walk_over_what_was_loaded(tmp_path: Path) -> None:
    async def scenario(policy: PolicyProcess) -> None:
        await policy.reset(SPEC, 1)
        acted = await policy.act(SEEN)
        assert acted is not None
        assert acted[0]["target_xy"][0] > 1000  # an empty interpreter alone has as many

    counted = 'import gc; return [{"target_xy": [gc.get_freeze_count(), 0]}]'
    run(tmp_path, scenario, act=counted)


def test_wrong_answers_are_errors_that_the_process_survives(tmp_path: Path) -> None:
    async def scenario(policy: PolicyProcess) -> None:
        for seed, (_, message) in enumerate(WRONG):
            await policy.reset(SPEC, seed)
            with pytest.raises(PolicyError, match=message):
                await policy.act(SEEN)
            assert policy.alive

    cases = "\n".join(f"if self.seed == {seed}:\n    {act}" for seed, (act, _) in enumerate(WRONG))
    run(tmp_path, scenario, reset="self.seed = seed", act=cases)


@contained
def test_a_policy_that_sleeps_for_ever_is_killed(tmp_path: Path, level: Level) -> None:
    begin = time.monotonic()
    fails(
        tmp_path,
        r"policy failed at act: act took longer than 0.3 s",
        load="import time",
        act="time.sleep(1000)",
        survives=False,
        act_deadline_s=0.3,
        level=level,
    )
    assert time.monotonic() - begin < 5


@everywhere
def test_a_flood_of_output_is_stopped(tmp_path: Path, level: Level) -> None:
    fails(
        tmp_path,
        r"it printed more than 64 KiB in an episode",
        act="for _ in range(1024):\n    print('x' * 1024 * 1024)",
        survives=False,
        act_deadline_s=20.0,
        level=level,
    )


def test_what_a_policy_prints_is_kept(tmp_path: Path) -> None:
    async def scenario(policy: PolicyProcess) -> None:
        for seed in range(4):  # the allowance is per episode
            await policy.reset(SPEC, seed)
            await policy.act(SEEN)
        assert "looking\x1b".replace("\x1b", "?") in policy.log
        assert len(policy.log) <= 64 * 1024

    run(tmp_path, scenario, act="print('looking\\x1b', 'y' * 30_000, flush=True)\n" + FOLLOW)


@contained
@pytest.mark.parametrize(
    "call", ["os.fork()", "subprocess.run(['true'])", "os.posix_spawn('/usr/bin/true', ['true'], {})"]
)
def test_forks_are_denied(tmp_path: Path, level: Level, call: str) -> None:
    act = f"while True:\n    {call}"
    fails(
        tmp_path, r"PermissionError: .*not permitted", load="import os, subprocess", act=act, survives=True, level=level
    )


@contained
def test_a_policy_that_kills_itself_is_reported(tmp_path: Path, level: Level) -> None:
    act = "print('goodbye', flush=True); os._exit(7)"
    message = r"its process ended with code 7; it last printed: goodbye"
    fails(tmp_path, message, load="import os", act=act, survives=False, level=level)


@contained
def test_a_policy_that_stops_its_parent_cannot_hold_us(tmp_path: Path, level: Level) -> None:
    load = "import os, signal, time"
    act = (
        "try:\n    os.kill(os.getppid(), signal.SIGSTOP)\nexcept OSError:\n    pass\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(1000)"
    )
    fails(tmp_path, r"act took longer than 0.3 s", load=load, act=act, survives=False, act_deadline_s=0.3, level=level)


@contained
def test_memory_is_bounded(tmp_path: Path, level: Level) -> None:
    fails(tmp_path, r"MemoryError", act="self.hoard = bytearray(8 << 30)", survives=True, level=level)


@contained
def test_secrets_labs_and_others_are_out_of_reach(
    tmp_path: Path, level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTLAB_TEST_TOKEN", "very-secret")
    peer = tmp_path / "peer"
    peer.mkdir()
    (peer / "policy.py").write_text("a peer's idea")
    root = Path(__file__).resolve().parents[2]
    targets = ["/etc/shadow", str(peer / "policy.py"), str(root / "robots" / "__init__.py"), str(root / "Makefile")]
    act = (
        f"import os\nreached = []\nfor path in {targets!r}:\n"
        "    try:\n        reached.append(open(path).read(9))\n    except OSError:\n        pass\n"
        "for name in ('robots', 'environments', 'data', 'agents', 'tasks', 'nightlab.sandbox', 'nightlab.manifest'):\n"
        "    try:\n        __import__(name); reached.append(name)\n    except ImportError:\n        pass\n"
        "for pid in ('self', '1', str(os.getppid())):\n"
        "    try:\n        text = open(f'/proc/{pid}/environ').read()\n    except OSError:\n        continue\n"
        "    reached += ['environment'] if 'very-secret' in text else []\n"
        "if reached:\n    raise Exception(f'reached {reached}')\n" + FOLLOW
    )

    async def scenario(policy: PolicyProcess) -> None:
        await policy.reset(SPEC, 1)
        assert await policy.act(SEEN)

    run(tmp_path, scenario, act=act, level=level)


@contained
def test_its_own_code_and_checkpoint_are_read_only(tmp_path: Path, level: Level) -> None:
    fails(
        tmp_path,
        r"(OSError|PermissionError): .*(Read-only file system|Permission denied)",
        act="open(__file__, 'a').write('# changed')",
        survives=True,
        level=level,
    )


@contained
def test_no_network(tmp_path: Path, level: Level) -> None:
    act = "socket.create_connection(('127.0.0.1', 22), 1)"
    fails(tmp_path, r"PermissionError: .*not permitted", load="import socket", act=act, survives=True, level=level)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ("b'\\xff\\xff\\xff\\xff'", r"announced a message of 4294967295 bytes"),
        ("struct.pack('>I', 3) + b'\\xc1\\xc1\\xc1'", r"is no msgpack"),
        ("struct.pack('>I', 1) + b'\\x01'", r"it sent a message that is no reply"),
        (
            "encode(['ok', [{'target_xy': [[2], b'short']}]])",
            r"no action: channel 'target_xy' has shape \[2\] and 5 bytes",
        ),
        ("encode(['ok', [{'target_xy': [[10**9, 10**9], b'']}]])", r"the impossible shape"),
        ("encode(['ok', [5]])", r"expected named arrays, got int"),
        ("encode(['ok', 'yes'])", r"it gave str; a chunk has 1 to 64"),
    ],
)
def test_forged_messages_harm_nobody(tmp_path: Path, sent: str, message: str) -> None:
    load = "import struct, sys, json, os\nfrom nightlab.framing import encode\nFD = json.loads(sys.argv[1])['fd']"
    act = f"os.write(FD, {sent})\n{FOLLOW}"

    async def scenario(policy: PolicyProcess) -> None:
        await policy.reset(SPEC, 1)
        with pytest.raises(PolicyError, match=message):
            await policy.act(SEEN)

    run(tmp_path, scenario, load=load, act=act)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (
            "import torchvision_of_dreams",
            r"loading policy.py: ModuleNotFoundError: No module named 'torchvision_of_dreams'",
        ),
        ("def f(:", r"loading policy.py: SyntaxError: .*\(policy.py line 2\)"),
        ("import os; os._exit(3)", r"its process ended with code 3"),
    ],
)
def test_code_that_cannot_be_loaded_says_why(tmp_path: Path, load: str, message: str) -> None:
    async def main() -> None:
        code, checkpoint = write_policy(tmp_path, act=FOLLOW, load=load)
        with pytest.raises(PolicyError, match=message):
            await PolicyProcess.start(code, checkpoint)

    asyncio.run(main())


def test_loading_has_a_deadline_and_needs_its_directories(tmp_path: Path) -> None:
    async def main() -> None:
        code, checkpoint = write_policy(tmp_path, act=FOLLOW, load="import time; time.sleep(99)")
        with pytest.raises(PolicyError, match=r"loading policy.py took longer than 0.3 s"):
            await PolicyProcess.start(code, checkpoint, start_deadline_s=0.3)
        with pytest.raises(SandboxError, match=r"cannot mount .*missing in the sandbox: it does not exist"):
            await PolicyProcess.start(code, tmp_path / "missing")
        (code / "policy.py").write_text("x = 1\n")
        with pytest.raises(PolicyError, match=r"policy.py defines no function make_policy"):
            await PolicyProcess.start(code, checkpoint)

    asyncio.run(main())


def test_a_real_robot_takes_no_policy_without_a_sandbox(tmp_path: Path) -> None:
    async def scenario(policy: PolicyProcess) -> None:
        with pytest.raises(
            SandboxError, match=r"robot-1 is a real robot and this host has no sandbox; fix: nightlab doctor"
        ):
            await policy.reset(SPEC.model_copy(update={"simulated": False}), 1)

    run(tmp_path, scenario, level="rlimits")


def test_act_before_reset_and_after_a_cancelled_call(tmp_path: Path) -> None:
    async def scenario(policy: PolicyProcess) -> None:
        with pytest.raises(PolicyError, match="act was asked before reset"):
            await policy.act(SEEN)
        await policy.reset(SPEC, 1)
        call = asyncio.create_task(policy.act(SEEN))
        await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.wait([call])
        with pytest.raises(PolicyError, match="a call was cancelled in the middle"):
            await policy.act(SEEN)

    run(tmp_path, scenario, load="import time", act="time.sleep(1)\n" + FOLLOW)


def test_starting_and_acting_are_fast(tmp_path: Path) -> None:
    """Generous bounds for a loaded machine; measured: 0.25 s and 0.1 ms."""

    async def scenario(policy: PolicyProcess) -> None:
        await policy.reset(SPEC, 1)
        times_s = []
        for _ in range(200):
            begin_s = time.perf_counter()
            await policy.act(SEEN)
            times_s.append(time.perf_counter() - begin_s)
        assert sorted(times_s)[100] < 1e-3

    begin_s = time.perf_counter()
    run(tmp_path, scenario)
    assert time.perf_counter() - begin_s < 5
