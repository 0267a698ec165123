"""The supervisor: one process per lab that starts all others, restarts what dies or hangs, and leaves nothing behind.

`python -m commands.supervisor --lab PATH`. Children die with it (the kernel sees to that). SIGTERM stops them in order:
the fleet first, so that flow runs can release their robots; then stations, verifier, recorder and keeper; Prefect last.
What it knows stands in `run/state.json`; each process logs to `run/logs/<name>.log`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from commands.environment import PROJECT, service_environment
from commands.lab_state import LabState, Phase, ProcessState, write_state
from commands.services import Plan, Service, plan
from data.lab import Lab
from nightlab.errors import LabError, NightlabError
from nightlab.heartbeat import Silence, beat
from nightlab.processes import kill_group, spawn_async, start_ticks, start_time
from nightlab.records import LabConfig, StationPlace

LOG_LIMIT_BYTES = 4_000_000
ROTATE_S = 60.0
"""How often the logs are looked at."""
BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Wait before the nth restart; from the start again once a process has been up for `STEADY_S`."""
STEADY_S = 60.0
LOOK_S = 1.0
"""How often a process's heartbeat is looked at."""
START_S = 180.0
"""Silence that a process which is not ready yet may keep; a new lab's Prefect server makes its database."""
START_ATTEMPTS = 3
"""How often a process may die before it was ever ready, until the start is given up."""

Planner = Callable[[Lab, LabConfig], Plan]


class Supervisor:
    """Runs the processes of one lab until told to stop."""

    def __init__(self, lab: Lab, *, planner: Planner = plan) -> None:
        self.lab = lab
        self.plan = planner(lab, lab.config)
        database = {"NIGHTLAB_PREFECT_DATABASE_URL": lab.config.prefect_database_url}
        self.environment = service_environment(
            lab.path, self.plan.api_url,
            base={**os.environ, **{key: value for key, value in database.items() if value}},
        )  # fmt: skip
        self.processes: dict[str, ProcessState] = {}
        self.places = {place.station: place for place in self.plan.places}
        self.phase = Phase.STARTING
        self.error = ""
        self._unwritten = False
        self._me = ProcessState(
            pid=os.getpid(), started_s=start_time(os.getpid()) or 0.0, start_ticks=start_ticks(os.getpid()) or 0,
            ready=True, log="run/logs/supervisor.log",
        )  # fmt: skip
        self._children: dict[str, asyncio.subprocess.Process] = {}
        self._stop = asyncio.Event()
        self._ready = {service.name: asyncio.Event() for service in self.plan.services}

    def stop(self) -> None:
        """Begin the ordered shutdown."""
        self._stop.set()

    async def run(self) -> int:
        """Start everything, keep it alive, stop it. Returns the exit status: 0, or 2 if the lab did not start."""
        logs = self.lab.run_dir / "logs"
        logs.mkdir(exist_ok=True)
        self._publish()
        begin_s = time.monotonic()
        first = [service for service in self.plan.services if not service.late]
        keepers = [asyncio.create_task(self._keep(service)) for service in first]
        rotating = asyncio.create_task(self._rotate())
        up = asyncio.create_task(self._all_ready(first))
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait([up, stop], return_when=asyncio.FIRST_COMPLETED)
        if not self._stop.is_set():
            self.phase = Phase.READY
            self._publish()
            _say(f"ready after {time.monotonic() - begin_s:.1f} s: {self.plan.ui_url}")
            keepers += [asyncio.create_task(self._keep(service)) for service in self.plan.services if service.late]
            await stop
        up.cancel()
        if self.phase is not Phase.FAILED:
            self.phase = Phase.STOPPING
        self._publish()
        await self._stop_all()
        rotating.cancel()
        await asyncio.gather(*keepers, rotating, return_exceptions=True)
        if self.phase is not Phase.FAILED:
            self.phase = Phase.DOWN
        self._publish()
        _say("down" if not self.error else self.error)
        return 2 if self.error else 0

    async def _all_ready(self, services: list[Service]) -> None:
        for service in services:
            await self._ready[service.name].wait()

    async def _keep(self, service: Service) -> None:
        """Start a process, wait for its end, start it again, until the shutdown."""
        restarts, deaths = 0, 0
        while not self._stop.is_set():
            begin_s = time.monotonic()
            code = await self._live(service, restarts)
            if self._stop.is_set():
                return
            was_ready = self._ready[service.name].is_set()
            deaths = 1 if time.monotonic() - begin_s > STEADY_S else deaths + 1
            how = f"could not be started: {code}" if isinstance(code, OSError) else f"ended with {code}"
            _say(f"{service.name} {how}{'' if was_ready else ' before it was ready'}: {self._log(service)}")
            if not was_ready and not service.late and (code == 2 or deaths >= START_ATTEMPTS):
                why = str(code) if isinstance(code, OSError) else f"exit {code}"
                self._give_up(f"{service.name} did not start ({why}): {self._last_words(service)}")
                return
            self._note(service, ready=False)
            restarts += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), BACKOFF_S[min(deaths, len(BACKOFF_S)) - 1])

    async def _live(self, service: Service, restarts: int) -> int | OSError:
        """One life of a process. Returns its exit status, or why it could not be started (no memory, no log file)."""
        try:
            process = await self._start(service, restarts)
        except OSError as error:
            return error
        helpers = [
            asyncio.create_task(self._await_ready(service, process)),
            asyncio.create_task(self._watch(service, process)),
        ]
        code = await process.wait()
        for helper in helpers:
            helper.cancel()
        kill_group(process.pid)
        return code

    async def _start(self, service: Service, restarts: int) -> asyncio.subprocess.Process:
        if service.ready_file is not None:
            service.ready_file.unlink(missing_ok=True)
        if service.heartbeat_file is not None:
            beat(service.heartbeat_file)  # so that it is there, also should the disk be full later
        with self._open_log(service) as log:
            process = await spawn_async(
                service.argv(restarts), cwd=PROJECT, env=self.environment, stdout=log, stderr=asyncio.subprocess.STDOUT
            )
        self._children[service.name] = process
        self.processes[service.name] = ProcessState(
            pid=process.pid, started_s=start_time(process.pid) or time.time(),
            start_ticks=start_ticks(process.pid) or 0, restarts=restarts, log=self._log(service),
        )  # fmt: skip
        self._publish()
        return process

    async def _await_ready(self, service: Service, process: asyncio.subprocess.Process) -> None:
        while service.ready_file is not None and not service.ready_file.exists():
            await asyncio.sleep(0.05)
        if service.station and service.ready_file is not None:
            with contextlib.suppress(ValueError):
                self.places[service.station] = StationPlace.model_validate_json(service.ready_file.read_text())
        self._note(service, ready=True)
        self._ready[service.name].set()
        _say(f"{service.name} is ready (pid {process.pid})")

    async def _watch(self, service: Service, process: asyncio.subprocess.Process) -> None:
        """Kill the process once its heartbeat has been silent for too long: `_keep` then starts it again."""
        if service.heartbeat_file is None:
            return
        silence = Silence(service.heartbeat_file, process.pid)
        while True:
            await asyncio.sleep(LOOK_S)
            if self._unwritten:
                self._publish()
            silent_s = silence.look()
            patience_s = service.silence_s if silence.seen else START_S
            if silent_s > patience_s and not self._stop.is_set():
                _say(f"{service.name} (pid {process.pid}) has made no progress for {silent_s:.0f} s; killed")
                kill_group(process.pid)
                return

    def _give_up(self, error: str) -> None:
        self.error = error
        self.phase = Phase.FAILED
        self._stop.set()

    async def _stop_all(self) -> None:
        """The fleet, then what serves it, then Prefect."""
        known = {service.name: service for service in self.plan.services}
        middle = [name for name in known if name not in ("fleet", "prefect")]
        for names in (["fleet"], middle, ["prefect"]):
            await asyncio.gather(*(self._end(known[name]) for name in names if name in known))

    async def _end(self, service: Service) -> None:
        process = self._children.get(service.name)
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)  # to the leader alone: it ends its own children in order
            try:
                await asyncio.wait_for(process.wait(), service.grace_s)
            except TimeoutError:
                _say(f"{service.name} did not end within {service.grace_s:g} s; killed")
        kill_group(process.pid)
        await process.wait()
        self.processes.pop(service.name, None)
        self._publish()

    def _note(self, service: Service, *, ready: bool) -> None:
        known = self.processes.get(service.name)
        if known is not None:
            self.processes[service.name] = known.model_copy(update={"ready": ready})
            self._publish()

    def _publish(self) -> None:
        """Write down what is known; what a full disk refuses is written a second later (`_watch`)."""
        state = LabState(
            phase=self.phase, supervisor=self._me, api_url=self.plan.api_url, ui_url=self.plan.ui_url,
            keeper_socket=str(self.lab.keeper_socket), verifier_socket=str(self.lab.verifier_socket),
            stations=tuple(self.places.values()), processes=dict(self.processes), error=self.error,
        )  # fmt: skip
        try:
            write_state(self.lab, state)
            self._unwritten = False
        except OSError as error:
            _say(f"cannot write {self.lab.state_path}: {error.strerror}")
            self._unwritten = True

    def _log(self, service: Service) -> str:
        return f"run/logs/{service.name}.log"

    def _open_log(self, service: Service) -> IO[bytes]:
        path = self.lab.path / self._log(service)
        rotate(path)
        return path.open("ab")

    async def _rotate(self) -> None:
        """Keep the logs small, this process's own too, while they are written."""
        while True:
            await asyncio.sleep(ROTATE_S)
            for path in (self.lab.run_dir / "logs").glob("*.log"):
                await asyncio.to_thread(rotate, path)

    def _last_words(self, service: Service) -> str:
        try:
            lines = (self.lab.path / self._log(service)).read_text(errors="replace").strip().splitlines()
        except OSError as error:
            return f"its log cannot be read: {error.strerror}; see nightlab doctor"
        return lines[-1][-600:] if lines else f"it said nothing; see {self._log(service)}"


def lock(lab: Lab) -> IO[str]:
    """Take the lab for this process, for as long as the returned file is open.

    Raises:
        LabError: if another supervisor has it.
    """
    file = (lab.run_dir / "supervisor.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise LabError(
            f"the lab {lab.path} is run by another supervisor already (pid {owner}). See: nightlab status --lab DIR"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def rotate(log: Path) -> None:
    """Move what a log over its limit says to `.log.1`; whoever appends to it writes on at its new beginning."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the log may lie on a full disk
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


async def supervise(lab: Lab, *, planner: Planner = plan) -> int:
    """Lock the lab and run its supervisor until SIGTERM or SIGINT."""
    with lock(lab):
        supervisor = Supervisor(lab, planner=planner)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
        return await supervisor.run()


def main(arguments: list[str] | None = None) -> int:
    """Command line of the module; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m commands.supervisor", description=__doc__)
    parser.add_argument("--lab", type=Path, required=True)
    asked = parser.parse_args(arguments)
    try:
        return asyncio.run(supervise(Lab.open(asked.lab)))
    except NightlabError as error:
        print(error, file=sys.stderr, flush=True)
        return 2


if __name__ == "__main__":
    sys.exit(main())
