"""A policy that would rather not solve the problem: debuggers, signals, planted code, floods, stalls. See by_policy.py."""

from __future__ import annotations

import asyncio
import contextlib
import os

from nightlab.errors import PolicyError
from nightlab.sandbox import BASE_ENV, Level, Sandbox
from nightlab.testing.policy import write_policy
from policies import host
from policies.host import PolicyProcess
from tests.cheating.attack import Outcome, Tried, attack, switched_off
from tests.cheating.by_policy import NO_SANDBOX
from tests.cheating.house import ACT, SECRET, SEEN, SPEC, House


@attack(
    "policy", "attach to the harness as a debugger", defence="seccomp denies ptrace; other processes are not seen",
    control=NO_SANDBOX, says=r"reached -1",
)  # fmt: skip
async def ptrace_the_harness(house: House, defended: bool) -> Tried:
    with house.victim() as (victim, _):
        said = await house.policy(
            defended, f"got = ctypes.CDLL(None).ptrace(0x4206, {victim.pid}, None, None)", load="import ctypes"
        )
    return Tried("reached 0" in said, said)


@attack(
    "policy", "kill the harness", defence="pids of its own, or seccomp denies signals", control=NO_SANDBOX,
    says=r"ProcessLookupError|PermissionError",
)  # fmt: skip
async def signal_the_harness(house: House, defended: bool) -> Tried:
    with house.victim() as (victim, _):
        said = await house.policy(defended, f"os.kill({victim.pid}, 9)", after_s=0.1)
        return Tried(victim.poll() is not None, said)


@attack(
    "policy", "leave a process behind that acts in later episodes", defence="no child processes, and an end of all pids",
    control=NO_SANDBOX, says=r"PermissionError",
)  # fmt: skip
async def outlive_the_episode(house: House, defended: bool) -> Tried:
    mark = house.fresh() / "alive"
    said = await house.policy(
        defended,
        "if os.fork() == 0:\n    os.setsid()\n    import time\n    time.sleep(0.4)\n"
        f"    open({str(mark)!r}, 'w').close()\n    os._exit(0)",
    )
    await asyncio.sleep(0.8)
    return Tried(mark.exists(), said)


@attack(
    "policy", "leave notes in /tmp for the next idea's policy", defence="a /tmp of its own that ends with the process",
    control=NO_SANDBOX, says="FileNotFoundError",
)  # fmt: skip
async def leave_notes_for_peers(house: House, defended: bool) -> Tried:
    note = f"/tmp/nightlab-note-{os.getpid()}-{defended}"
    try:
        await house.policy(defended, f"open({note!r}, 'w').write('seed 7 is easy')")
        said = await house.policy(defended, f"got = open({note!r}).read()")
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(note)
    return Tried("seed 7 is easy" in said, said)


@attack(
    "policy", "change its own code once it has been hashed", defence="code and checkpoint are mounted read-only",
    control=NO_SANDBOX, says="OSError|PermissionError",
)  # fmt: skip
async def rewrite_its_own_code(house: House, defended: bool) -> Tried:
    code, checkpoint = write_policy(
        house.fresh(),
        act=f"try:\n    open(__file__, 'a').write('# changed')\nexcept OSError as e:\n    print(repr(e))\n{ACT}",
    )
    process = await PolicyProcess.start(code, checkpoint, level=house.sandbox(defended), start_deadline_s=60.0)
    try:
        await process.reset(SPEC, 1)
        await process.act(SEEN)
    finally:
        await process.close()
    return Tried("# changed" in (code / "policy.py").read_text().splitlines()[-1], process.log)


class _OpenInterpreter(Sandbox):
    """A sandbox whose Python reads PYTHONPATH and runs `site`: the isolation of the interpreter switched off."""

    code = ""

    def python(self) -> list[str]:
        import sys

        return ["/usr/bin/env", f"PYTHONPATH={self.code}", os.path.realpath(sys.executable)]


@attack(
    "policy", "plant sitecustomize.py, to run in every interpreter started there", defence="interpreters start with -I -S",
    control="an interpreter that reads PYTHONPATH and runs `site`", says="^$",
)  # fmt: skip
async def plant_sitecustomize(house: House, defended: bool) -> Tried:
    code, checkpoint = write_policy(house.fresh(), act=ACT)
    (code / "sitecustomize.py").write_text("print('planted code ran', flush=True)\n")
    (code / "usercustomize.py").write_text("print('planted code ran', flush=True)\n")
    _OpenInterpreter.code = "/code" if house.level == "bwrap" else str(code)
    from policies import jail

    with switched_off(jail, "Sandbox", _OpenInterpreter, really=not defended):
        process = await PolicyProcess.start(code, checkpoint, level=house.level, start_deadline_s=60.0)
    await process.close()
    return Tried("planted code ran" in process.log, process.log)


@attack(
    "policy", "send a pickle over the socket, to run code in the harness", defence="messages are msgpack, checked field by field",
    control="a host that unpickles", says="is no msgpack|is no reply|no action",
)  # fmt: skip
async def send_a_pickle(house: House, defended: bool) -> Tried:
    mark = house.fresh() / "ran"
    load = (
        "import json, pickle, struct\nFD = json.loads(sys.argv[1])['fd']\n"
        f"class Evil:\n    def __reduce__(self):\n        return (exec, (\"open({str(mark)!r}, 'w').close()\",))\n"
    )
    body = f"blob = pickle.dumps(Evil())\nos.write(FD, struct.pack('>I', len(blob)) + blob)\n{ACT}"
    code, checkpoint = write_policy(house.fresh(), act=body, load=f"import os, sys\n{load}")

    def unpickle(blob: bytes) -> object:
        import pickle  # noqa: TID251 (the control)

        return pickle.loads(blob) if blob[:1] == b"\x80" else ["ok", None]

    said = ""
    process = await PolicyProcess.start(code, checkpoint, level=house.level, start_deadline_s=60.0)
    try:
        await process.reset(SPEC, 1)
        with switched_off(host, "decode", unpickle, really=not defended):
            await process.act(SEEN)
    except PolicyError as error:
        said = str(error)
    finally:
        await process.close()
    return Tried(mark.exists(), said)


@attack(
    "policy", "flood the log until disk or harness give up", defence="64 KiB an episode, then the policy is killed",
    outcome=Outcome.FAILURE, control="no bound on the output", says="it printed more than 64 KiB in an episode",
)  # fmt: skip
async def flood_the_log(house: House, defended: bool) -> Tried:
    body = f"for _ in range(300):\n    print('x' * 10_000, flush=True)\n{ACT}"
    code, checkpoint = write_policy(house.fresh(), act=body)
    said, acted = "", False
    with switched_off(host, "KEPT_BYTES", 1 << 40, really=not defended):
        process = await PolicyProcess.start(
            code, checkpoint, level=house.level, act_deadline_s=60.0, start_deadline_s=60.0
        )
    try:
        await process.reset(SPEC, 1)
        acted = await process.act(SEEN) is not None
    except PolicyError as error:
        said = str(error)
    finally:
        await process.close()
    return Tried(acted, said)


@attack(
    "policy", "think past the deadline while the robot waits", defence="killed at the deadline of one answer",
    outcome=Outcome.FAILURE, control="no deadline", says="act took longer than 0.3 s",
)  # fmt: skip
async def stall_past_the_deadline(house: House, defended: bool) -> Tried:
    code, checkpoint = write_policy(house.fresh(), act=f"time.sleep(0.8)\n{ACT}", load="import time")
    said, acted = "", False
    deadline_s = 0.3 if defended else 3600.0
    process = await PolicyProcess.start(
        code, checkpoint, level=house.level, act_deadline_s=deadline_s, start_deadline_s=60.0
    )
    try:
        await process.reset(SPEC, 1)
        acted = await process.act(SEEN) is not None
    except PolicyError as error:
        said = str(error)
    finally:
        await process.close()
    return Tried(acted, said)


@attack(
    "policy", "patch the random module so that easy starts are drawn", defence="a process of its own",
    control="the policy in the harness's process", says="start unchanged",
)  # fmt: skip
async def change_the_random_seed(house: House, defended: bool) -> Tried:
    import random

    from environments.push_t.start import sample_start

    easy = "(0.1, 0.1, 0.52, 0.52, 0.625)"  # the T lies on its goal
    patch = f"import itertools\nrandom.Random.random = lambda self, near=itertools.cycle({easy}): next(near)"
    honest, before = sample_start(11), random.Random.random
    try:
        if defended:
            await house.policy(True, patch, load="import random")
        else:
            exec(patch, {"random": random})
        drawn = sample_start(11)
    finally:
        random.Random.random = before  # type: ignore[method-assign]
    return Tried(drawn != honest, "start unchanged" if drawn == honest else "start chosen")


@attack(
    "policy", "keep the host so busy that the sandbox seems not to work, and the next policy runs without one",
    defence="a probe that is slow does not lower the level", control="a probe that gives up after its time",
    says="bwrap works|landlock works",
)  # fmt: skip
async def starve_the_probe(house: House, defended: bool) -> Tried:
    from nightlab import sandbox

    def gives_up(level: Level) -> str | None:
        return f"{level} does not start"

    with (
        switched_off(sandbox, "PROBE_S", 0.001),
        switched_off(sandbox, "_too_slow", gives_up, really=not defended),
    ):
        problem = sandbox._trouble(house.level)
    return Tried(problem is not None, problem or f"{house.level} works")


@attack(
    "policy", "find a token in the environment it was started with", defence="nothing of the harness's environment goes in",
    control="the harness's environment handed on", says=r"reached \[\]",
)  # fmt: skip
async def read_its_environment(house: House, defended: bool) -> Tried:
    from nightlab import sandbox

    os.environ["NIGHTLAB_TEST_TOKEN"] = SECRET
    environment = BASE_ENV if defended else {**BASE_ENV, "NIGHTLAB_TEST_TOKEN": SECRET}
    try:
        with switched_off(sandbox, "BASE_ENV", environment):
            said = await house.policy(True, f"got = [k for k, v in os.environ.items() if v == {SECRET!r}]")
    finally:
        del os.environ["NIGHTLAB_TEST_TOKEN"]
    return Tried("NIGHTLAB_TEST_TOKEN" in said, said)
