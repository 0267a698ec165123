"""The process of one flow run: Prefect's engine, bound to the life of the fleet that started it.

A worker starts `python -m commands.flow_process`. It hands the flow run to the warm process where there is one (see
`commands/warm.py`) and then only passes signals and the exit status on; else it imports Prefect itself. If the fleet is
killed, the kernel kills this process too, so no flow run goes on unsupervised while a new fleet resumes it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys

PR_SET_PDEATHSIG = 1
WARM_SOCKET = "NIGHTLAB_WARM_SOCKET"
"""Environment variable with the path of the warm process's socket; empty = start cold."""
WARM_S = 30.0
"""Wall seconds that the warm process may take to fork."""
PASSED_ON = (signal.SIGTERM, signal.SIGINT)


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent dies; exit at once if it is dead already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def run_warm(path: str) -> int | None:
    """Run the flow in a child of the warm process.

    Returns:
        Its exit status, negative for a signal; None if it must be started here instead.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        request = json.dumps({"env": dict(os.environ), "cwd": os.getcwd()}).encode() + b"\n"
        try:
            connection.connect(path)
            sent = socket.send_fds(connection, [request], [0, 1, 2])
            connection.sendall(request[sent:])
        except OSError:
            return None
        for number in PASSED_ON:
            signal.signal(number, lambda name, _: connection.send(bytes([name])))
        with connection.makefile("r") as answers:
            connection.settimeout(WARM_S)
            try:
                answer = json.loads(answers.readline() or '{"cold": true}')
            except TimeoutError:  # it hangs: once it wakes it finds this connection closed and forks nothing for long
                answer = {"cold": True}
            connection.settimeout(None)
            if answer.get("cold"):
                for number in PASSED_ON:
                    signal.signal(number, signal.SIG_DFL)
                return None
            last = answers.readline()
        return int(json.loads(last)["code"]) if last else -int(signal.SIGKILL)


def run_cold() -> None:
    """Run the flow in this process."""
    import runpy

    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


def main() -> None:
    """Run the flow run named by `PREFECT__FLOW_RUN_ID`."""
    die_with_parent(int(os.environ.get("NIGHTLAB_FLEET_PID") or os.getppid()))
    path = os.environ.get(WARM_SOCKET, "")
    code = run_warm(path) if path else None
    if code is None:
        run_cold()
    elif code < 0:
        if -code in PASSED_ON:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    else:
        sys.exit(code)


if __name__ == "__main__":
    main()
