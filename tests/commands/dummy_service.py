"""A scripted child of the supervisor: says it is ready, waits for SIGTERM, notes when it ends."""

import argparse
import signal
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--name", required=True)
parser.add_argument("--diary", type=Path, required=True)
parser.add_argument("--ready-file", type=Path)
parser.add_argument("--ready-text", default="ready")
parser.add_argument("--fail", help="print this and exit with 2")
parser.add_argument("--deaf", action="store_true", help="ignore SIGTERM")
parser.add_argument("--resume", action="store_true")
parser.add_argument("--heartbeat-file", type=Path)
asked = parser.parse_args()


def note(text: str) -> None:
    with asked.diary.open("a") as diary:
        diary.write(f"{asked.name} {text}\n")


def end(*_: object) -> None:
    time.sleep(0.1)
    note("ended")
    sys.exit(0)


signal.signal(signal.SIGTERM, signal.SIG_IGN if asked.deaf else end)
note("resumed" if asked.resume else "started")
if asked.fail:
    print("some noise\n" + asked.fail, file=sys.stderr)
    sys.exit(2)
if asked.ready_file:
    asked.ready_file.write_text(asked.ready_text)
while True:
    if asked.heartbeat_file:
        asked.heartbeat_file.touch()
    time.sleep(0.1)
