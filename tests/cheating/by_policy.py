"""A policy that would rather not solve the problem: files, sockets, memory. It runs in the sandbox, or without."""

from __future__ import annotations

import json
import os

from data.ledger import LedgerReader
from nightlab.framing import encode
from tests.cheating.attack import Tried, attack
from tests.cheating.house import PROJECT, SECRET, House

MOUNTS = "only its code, its checkpoint and the policy runtime are mounted"
NO_SANDBOX = "sandbox level `rlimits`"
GONE = (
    r"FileNotFoundError|PermissionError|NotADirectoryError|OperationalError: unable to open|OperationalError unable to"
)
CUT_OFF = r"FileNotFoundError|PermissionError|ConnectionRefusedError|OSError"


@attack("policy", "rewrite the verifier's threshold", defence=MOUNTS, control=NO_SANDBOX, says=GONE)
async def edit_the_verifier(house: House, defended: bool) -> Tried:
    path = house.fresh() / "spec.py"
    path.write_text("SUCCESS_COVERAGE = 0.95\n")
    said = await house.policy(defended, f"open({str(path)!r}, 'r+').write('SUCCESS_COVERAGE = 0.01')")
    return Tried("0.01" in path.read_text(), said)


@attack("policy", "make the manifest agree with a changed file", defence=MOUNTS, control=NO_SANDBOX, says=GONE)
async def edit_the_manifest(house: House, defended: bool) -> Tried:
    path = house.fresh() / "manifest.json"
    path.write_text('{"sha256": "right"}')
    said = await house.policy(defended, f"open({str(path)!r}, 'r+').write('{{\"sha256\": \"wrong\"}}')")
    return Tried("wrong" in path.read_text(), said)


@attack("policy", "write the trial's result file", defence=MOUNTS, control=NO_SANDBOX, says=GONE)
async def write_its_own_result(house: House, defended: bool) -> Tried:
    path = house.lab.run_dir / "jobs" / "I1-result.json"
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    result = json.dumps({"iteration": "I1", "episodes": 20, "stopped": "all seeds"})
    said = await house.policy(defended, f"open({str(path)!r}, 'w').write({result!r})")
    return Tried(path.exists(), said)


@attack(
    "policy", "print what the trial prints for a success", defence="its output is read by the host and kept apart",
    control="a host that passes the output on", says="kept apart",
)  # fmt: skip
async def print_its_own_result(house: House, defended: bool) -> Tried:
    line = json.dumps({"idea": "I1", "outcome": "success", "score": 1.0})
    log = await house.policy(True, f"print({line!r})")
    trial_says = "" if defended else log
    found = [
        text for text in trial_says.splitlines() if text.startswith("{") and json.loads(text)["outcome"] == "success"
    ]
    return Tried(bool(found), "kept apart" if line in log else log)


@attack("policy", "insert episodes into the ledger's database", defence=MOUNTS, control=NO_SANDBOX, says=GONE)
async def write_ledger_rows(house: House, defended: bool) -> Tried:
    path = house.lab.ledger_path
    name = f"forged-row-{defended}"
    values = f"('{name}','note','C1','I1','robot-1',1.0,1,'{{}}')"
    sql = f"INSERT INTO events (event_id,kind,campaign,iteration,station,wall_s,schema_version,data) VALUES {values}"
    said = await house.policy(
        defended,
        f"db = sqlite3.connect({str(path)!r})\ndb.execute({sql!r})\ndb.commit()",
        load="import sqlite3",
    )
    with LedgerReader(path) as ledger:
        return Tried(ledger.get(name) is not None, said)


@attack("policy", "append an event through the keeper's socket", defence=MOUNTS, control=NO_SANDBOX, says=CUT_OFF)
async def talk_to_the_keeper(house: House, defended: bool) -> Tried:
    event = {"event_id": f"forged-{defended}", "kind": "solved", "campaign": "C1", "wall_s": 1.0, "data": {}}
    message = encode({"call": "append", "with": {"event": event}})
    async with house.keeper(house.lab):
        said = await house.policy(
            defended,
            f"s = socket.socket(socket.AF_UNIX)\ns.connect({str(house.lab.keeper_socket)!r})\n"
            f"s.sendall({message!r})\ngot = s.recv(100)",
        )
    with LedgerReader(house.lab.ledger_path) as ledger:
        return Tried(ledger.get(f"forged-{defended}") is not None, said)


@attack("policy", "read the key that all seeds derive from", defence=MOUNTS, control=NO_SANDBOX, says=GONE)
async def read_the_seed_key(house: House, defended: bool) -> Tried:
    said = await house.policy(defended, f"got = open({str(house.lab.key_path)!r}, 'rb').read().hex()")
    return Tried(house.lab.key_path.read_bytes().hex() in said, said)


@attack("policy", "read the ledger, with the seeds that were drawn", defence=MOUNTS, control=NO_SANDBOX, says=GONE)
async def read_the_ledger(house: House, defended: bool) -> Tried:
    said = await house.policy(defended, f"got = open({str(house.lab.ledger_path)!r}, 'rb').read(15)")
    return Tried("SQLite format 3" in said, said)


@attack(
    "policy", "find the environment's seed by hashing all candidates against its own seed",
    defence="policy seeds are keyed with the lab's secret", control="the public hash", says="no candidate fits",
)  # fmt: skip
async def invert_its_seed(house: House, defended: bool) -> Tried:
    from data.seeds import load_key, policy_secret
    from nightlab.records import EpisodeKey, SeedPool
    from tasks.episode import policy_seed

    def key(seed: int) -> EpisodeKey:
        return EpisodeKey(campaign="C1", iteration="I1", idea="I1", station="robot-1", pool=SeedPool.SEARCH, seed=seed)

    secret = policy_secret(load_key(house.lab.key_path)) if defended else ""
    given = policy_seed(key(123_456), secret)
    found = [seed for seed in range(122_000, 125_000) if policy_seed(key(seed)) == given]
    return Tried(found == [123_456], f"{found}" if found else "no candidate fits")


@attack("policy", "ask the simulator's admin socket for the truth", defence=MOUNTS, control=NO_SANDBOX, says=CUT_OFF)
async def read_the_simulator(house: House, defended: bool) -> Tried:
    path = str(house.admin_socket)
    said = await house.policy(
        defended,
        f"socket.socket(socket.AF_UNIX).connect({path!r})\n"
        f"sys.path.insert(0, {str(PROJECT)!r})\n"
        "import asyncio\nfrom robots.admin import AdminClient\n"
        f"async def ask():\n    admin = await AdminClient.connect({path!r})\n    return sorted(await admin.truth())\n"
        "got = asyncio.run(ask())",
    )
    return Tried("block_angle_rad" in said and "reached" in said, said)


@attack(
    "policy", "open the station's port and read its sensors", defence="a network of its own, and no sockets but Unix ones",
    control=NO_SANDBOX, says=CUT_OFF,
)  # fmt: skip
async def open_the_stations_port(house: House, defended: bool) -> Tried:
    address, port = house.station.address.split(":")
    said = await house.policy(
        defended,
        f"socket.create_connection(({address!r}, {port}), 2).close()\n"
        f"sys.path.insert(0, {str(PROJECT)!r})\n"
        f"import nightlab\nnightlab.__path__.append({str(PROJECT / 'nightlab')!r})\n"
        "import asyncio\nfrom robots.client import StationClient\n"
        f"async def ask():\n    station = await StationClient.connect('{address}:{port}')\n"
        "    return (await station.observe()).values['block_pose'].tolist()\n"
        "got = asyncio.run(ask())",
    )
    return Tried("reached [" in said, said)


@attack(
    "policy", "find the control socket's name in /proc and take up a stream", defence="a network of its own, or no /proc",
    control=NO_SANDBOX, says=GONE + "|reached nothing",
)  # fmt: skip
async def find_the_control_socket(house: House, defended: bool) -> Tried:
    frame = encode(["open", "0" * 32, ""])
    said = await house.policy(
        defended,
        "got = 'nothing'\n"
        "for line in open('/proc/net/unix'):\n"
        "    if '@nightlab-' in line:\n"
        "        there = socket.socket(socket.AF_UNIX)\n"
        "        there.connect('\\0' + line.split('@')[1].strip())\n"
        f"        there.sendall({frame!r})\n"
        "        got = there.recv(1000)\n"
        "        break",
    )
    return Tried("LeaseError" in said, said)


@attack(
    "policy", "read the harness's memory through /proc", defence="pids and /proc of its own, or Landlock and seccomp",
    control=NO_SANDBOX, says=GONE + "|ProcessLookupError",
)  # fmt: skip
async def read_process_memory(house: House, defended: bool) -> Tried:
    with house.victim() as (victim, place):
        said = await house.policy(
            defended,
            f"memory = open('/proc/{victim.pid}/mem', 'rb', 0)\nmemory.seek({place})\ngot = memory.read(96)",
        )
    return Tried(f"memory-{SECRET}" in said, said)


@attack("policy", "read what another idea's researcher is writing", defence=MOUNTS, control=NO_SANDBOX, says=GONE)
async def read_a_peers_workspace(house: House, defended: bool) -> Tried:
    peer = house.lab.worktrees_dir / "I9" / "policy.py"
    said = await house.policy(defended, f"got = open({str(peer)!r}).read()")
    return Tried("a peer's idea" in said, said)


@attack("policy", "import the reference policy of the benchmarks", defence=MOUNTS, control=NO_SANDBOX, says=GONE)
async def read_the_reference_policy(house: House, defended: bool) -> Tried:
    path = PROJECT / "benchmarks" / "reference" / "push_t" / "policy.py"
    said = await house.policy(defended, f"got = len(open({str(path)!r}).read())")
    return Tried(f"reached {len(path.read_text())}" in said, said)


@attack(
    "policy", "read the operator's key file and the harness's environment", defence=MOUNTS + "; an empty environment",
    control=NO_SANDBOX, says="nothing found",
)  # fmt: skip
async def read_secrets(house: House, defended: bool) -> Tried:
    key = house.lab.path.parent / "operator.key"
    said = await house.policy(
        defended,
        f"got = 'nothing found'\nfor path in ({str(key)!r}, '/proc/{os.getpid()}/environ'):\n"
        f"    try:\n        text = open(path).read()\n"
        f"        got = 'found' if {SECRET!r} in text or 'PATH=' in text else got\n"
        "    except OSError:\n        pass",
    )
    return Tried("reached found" in said, said)
