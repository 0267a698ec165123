"""The yardstick of `nightlab benchmark loop`: messages of its size, at its pace, over a gRPC stream that does nothing else.

Round trips are stamped as there, by the server: from handing out a message to having the answer. This much of a control
loop's round trip over gRPC belongs to gRPC, Python and the host; the rest is nightlab's.

    python -m commands.benchmark_grpc --ready-file PATH --rate 100 --n 2000      the server; prints waits as a JSON list
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from nightlab.errors import ServiceError

SERVICE, METHOD = "nightlab.v1.Yardstick", "Echo"
REPLY: Final = bytes(640)
"""As long as an observation with a state and an executed action of 32 floats."""
REQUEST: Final = bytes(290)
"""As long as an action of 32 floats."""
READY_S: Final = 60.0


async def yardstick(room: Path, rate_hz: float, n: int) -> list[float]:
    """Wall seconds of `n` round trips between a server process and this one, on loopback.

    Raises:
        ServiceError: the server did not start or failed.
    """
    import grpc

    from nightlab.processes import spawn_async, stop_async
    from robots import wire

    ready = room / "yardstick.txt"
    argv: list[str | Path] = [sys.executable, "-m", "commands.benchmark_grpc", "--ready-file", ready]
    argv += ["--rate", f"{rate_hz:g}", "--n", str(n)]
    process = await spawn_async(argv, stdout=asyncio.subprocess.PIPE)
    try:
        give_up = time.monotonic() + READY_S
        while not ready.exists():
            if process.returncode is not None or time.monotonic() > give_up:
                raise ServiceError("the yardstick's server did not start; see: nightlab doctor")
            await asyncio.sleep(0.05)
        async with grpc.aio.insecure_channel(ready.read_text(), options=wire.CHANNEL_OPTIONS) as channel:
            call: Any = channel.stream_stream(f"/{SERVICE}/{METHOD}")()
            try:
                await call.write(REQUEST)
                while await call.read() is not grpc.aio.EOF:
                    await call.write(REQUEST)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                raise ServiceError(f"the yardstick's stream broke: {error}") from error
        out, _ = await process.communicate()
    finally:
        await stop_async(process, 3.0)
    waited_s: list[float] = json.loads(out)
    return waited_s


def serve(ready: Path, rate_hz: float, n: int) -> list[float]:
    """Answer one stream, one message per control period, `n` times. Returns how long each answer was waited for, s."""
    import grpc

    from robots import wire

    waited_s: list[float] = []

    def echo(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        next(requests)
        due = time.monotonic()
        for _ in range(n):
            due += 1.0 / rate_hz
            time.sleep(max(0.0, due - time.monotonic()))
            begin = time.monotonic()
            yield REPLY
            next(requests)
            waited_s.append(time.monotonic() - begin)

    server = grpc.server(ThreadPoolExecutor(2), options=wire.SERVER_OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    partial = ready.with_suffix(".partial")
    partial.write_text(f"127.0.0.1:{port}")
    partial.rename(ready)
    while len(waited_s) < n:
        time.sleep(0.1)
    server.stop(1.0).wait()
    return waited_s


def main() -> int:
    """The server's process; it ends with its stream, or with the process that started it."""
    parser = argparse.ArgumentParser(prog="python -m commands.benchmark_grpc", description=__doc__)
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--n", type=int, required=True)
    asked = parser.parse_args()
    print(json.dumps(serve(asked.ready_file, asked.rate, asked.n)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
