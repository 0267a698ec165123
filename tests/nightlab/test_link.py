from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import pytest

from nightlab.framing import LENGTH, MAX_FRAME_BYTES, FramingError
from nightlab.link import UNASKED_BYTES, Link


def frame(body: bytes) -> bytes:
    return LENGTH.pack(len(body)) + body


def linked(check: Callable[[Link, socket.socket], Awaitable[None]]) -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            _, link = await asyncio.get_running_loop().create_connection(Link, sock=ours)
            try:
                await check(link, theirs)
            finally:
                link.close()

    asyncio.run(run())


def test_frames_come_whole_whatever_the_pieces() -> None:
    async def check(link: Link, peer: socket.socket) -> None:
        for piece in (
            frame(b"one"),
            frame(b"two") + frame(b""),
            frame(b"three")[:2],
            frame(b"three")[2:] + frame(b"4"),
        ):
            peer.send(piece)
            await asyncio.sleep(0.02)
        assert [await link.receive(1.0) for _ in range(5)] == [b"one", b"two", b"", b"three", b"4"]
        link.send(b"back")
        await asyncio.sleep(0.02)
        assert peer.recv(100) == frame(b"back")

    linked(check)


def test_a_large_frame_goes_both_ways() -> None:
    async def check(link: Link, peer: socket.socket) -> None:
        body, loop = bytes(range(256)) * 4000, asyncio.get_running_loop()
        sending = asyncio.create_task(loop.sock_sendall(peer, frame(body)))
        assert await link.receive(5.0) == body
        await sending
        link.send(body)
        got = b""
        while len(got) < len(body) + LENGTH.size:
            got += await loop.sock_recv(peer, 1 << 20)
        assert got == frame(body)

    linked(check)


def test_a_deadline_holds_for_each_message_and_a_late_one_is_not_lost() -> None:
    async def check(link: Link, peer: socket.socket) -> None:
        for timeout_s in (5.0, 0.2, 0.05):  # the first leaves a timer behind that is too late for the others
            peer.send(frame(b"x")) if timeout_s == 5.0 else None
            begin = time.monotonic()
            if timeout_s == 5.0:
                assert await link.receive(timeout_s) == b"x"
                continue
            with pytest.raises(TimeoutError):
                await link.receive(timeout_s)
            assert timeout_s - 0.01 < time.monotonic() - begin < timeout_s + 1.0
        peer.send(frame(b"late"))
        assert await link.receive(1.0) == b"late"

    linked(check)


def test_the_end_between_frames_and_within_one() -> None:
    async def between(link: Link, peer: socket.socket) -> None:
        peer.send(frame(b"last"))
        peer.close()
        assert await link.receive(1.0) == b"last"
        with pytest.raises(EOFError, match="the peer closed the connection"):
            await link.receive(1.0)
        await link.closed()

    async def within(link: Link, peer: socket.socket) -> None:
        peer.send(frame(b"broken")[:-1])
        waiting = asyncio.create_task(link.receive(5.0))
        await asyncio.sleep(0.02)
        peer.close()
        with pytest.raises(FramingError, match="in the middle of a message"):
            await waiting

    linked(between)
    linked(within)


def test_a_length_above_the_maximum_is_refused_before_it_comes() -> None:
    async def check(link: Link, peer: socket.socket) -> None:
        peer.send(LENGTH.pack(MAX_FRAME_BYTES + 1))
        with pytest.raises(FramingError, match="announced a message of 8388609 bytes; one frame holds 8388608"):
            await link.receive(1.0)

    linked(check)


def test_a_peer_that_sends_unasked_is_not_read_for_ever() -> None:
    async def check(link: Link, peer: socket.socket) -> None:
        flood, sent = frame(bytes(1000)) * 10_000, 0
        for _ in range(200):
            try:
                sent += peer.send(flood)
            except BlockingIOError:
                await asyncio.sleep(0.01)
        assert sent < UNASKED_BYTES + (1 << 21), "the socket is full and stays so"
        for _ in range(5):
            assert await link.receive(1.0) == bytes(1000), "what came is there"

    linked(check)


def test_a_cancelled_wait_takes_nothing_with_it() -> None:
    async def check(link: Link, peer: socket.socket) -> None:
        waiting = asyncio.create_task(link.receive(5.0))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        peer.send(frame(b"still here"))
        assert await link.receive(1.0) == b"still here"

    linked(check)
