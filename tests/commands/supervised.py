"""Run a supervisor whose children are scripted: `python supervised.py LAB DIARY`."""

import asyncio
import sys
from pathlib import Path

from commands.services import Plan, Service
from commands.supervisor import supervise
from data.lab import Lab
from nightlab.records import LabConfig, StationPlace

SERVICE = str(Path(__file__).with_name("dummy_service.py"))
NAMES = ("prefect", "fleet", "keeper", "robot-1")


def planner(diary: Path, *, fail: str = "", deaf: str = ""):
    """A plan of four dummies and a late one. `fail` and `deaf` name the one that fails or ignores SIGTERM."""

    def make(lab: Lab, config: LabConfig) -> Plan:
        place = StationPlace(station="robot-1", address="127.0.0.1:1", admin_socket="/nowhere")
        answered = place.model_copy(update={"address": "127.0.0.1:4242"})

        def service(name: str, late: bool = False) -> Service:
            ready = lab.run_dir / f"{name}.ready"
            argv = [sys.executable, SERVICE, "--name", name, "--diary", str(diary), "--ready-file", str(ready)]
            argv += ["--fail", "the disk is full. Try: nightlab doctor"] if name == fail else []
            argv += ["--heartbeat-file", str(lab.run_dir / f"{name}.beat")]
            argv += ["--deaf"] if name == deaf else []
            argv += ["--ready-text", answered.model_dump_json()] if name == "robot-1" else []
            return Service(
                name=name,
                argv=lambda restarts: [*argv, *(["--resume"] if restarts and name == "fleet" else [])],
                ready_file=None if late else ready,
                grace_s=1.0,
                late=late,
                station=name if name == "robot-1" else "",
                heartbeat_file=lab.run_dir / f"{name}.beat",
                silence_s=1.5,
            )

        services = (*(service(name) for name in NAMES), service("recorder", late=True))
        return Plan(services, "http://127.0.0.1:1/api", "http://127.0.0.1:1", (place,), ("robot-1",))

    return make


if __name__ == "__main__":
    sys.exit(asyncio.run(supervise(Lab.open(Path(sys.argv[1])), planner=planner(Path(sys.argv[2])))))
