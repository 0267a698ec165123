"""The process of one flow run: Prefect's engine, bound to the life of the fleet that started it.

A worker starts `python -m commands.flow_process`. If the fleet is killed, the kernel kills this process too, so no flow
run goes on unsupervised while a new fleet resumes it.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent dies; exit at once if it is dead already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    """Run the flow run named by `PREFECT__FLOW_RUN_ID`."""
    die_with_parent(int(os.environ.get("NIGHTLAB_FLEET_PID") or os.getppid()))
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
