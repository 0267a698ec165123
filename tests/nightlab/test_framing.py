"""Framing: what goes in comes out; what a hostile peer sends becomes one kind of error."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest

from nightlab.framing import MAX_FRAME_BYTES, FramingError, decode, encode, read_frame, recv, send, write_frame

MESSAGE: dict[str, Any] = {"call": "act", "n": [1, 2.5, None, True], "bytes": b"\x00\xff", "ünï": "code"}


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def test_blocking_sockets_carry_messages_in_order() -> None:
    ours, theirs = pair()
    with ours, theirs:
        send(ours, MESSAGE)
        send(ours, [1])
        assert recv(theirs) == MESSAGE
        assert recv(theirs) == [1]


def test_close_between_messages_is_eof_and_within_one_an_error() -> None:
    ours, theirs = pair()
    with theirs:
        ours.close()
        with pytest.raises(EOFError, match="closed the connection"):
            recv(theirs)
    ours, theirs = pair()
    with theirs:
        ours.sendall(encode(MESSAGE)[:-1])
        ours.close()
        with pytest.raises(FramingError, match="1 bytes before the end of a message"):
            recv(theirs)


def test_an_announced_length_above_the_maximum_is_refused_before_it_is_read() -> None:
    ours, theirs = pair()
    with ours, theirs:
        ours.sendall(struct.pack(">I", MAX_FRAME_BYTES + 1))
        with pytest.raises(FramingError, match=f"announced a message of {MAX_FRAME_BYTES + 1} bytes"):
            recv(theirs)


def test_a_message_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(FramingError, match="longer than the 8388608 that one frame holds"):
        encode(b"x" * (MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x92\x01", b"\x91" * 100_000, b"\xa1\xff", b"\x01\x02", b"\x81\x91\x01\x01"]
)
def test_bytes_that_are_no_msgpack_are_an_error(body: bytes) -> None:
    with pytest.raises(FramingError, match="is no msgpack"):
        decode(body)


async def _streams() -> tuple[tuple[asyncio.StreamReader, asyncio.StreamWriter], socket.socket]:
    ours, theirs = pair()
    theirs.setblocking(False)
    return await asyncio.open_connection(sock=ours), theirs


def test_asyncio_streams_carry_messages() -> None:
    async def scenario() -> None:
        (reader, writer), theirs = await _streams()
        other_reader, other_writer = await asyncio.open_connection(sock=theirs)
        await write_frame(writer, MESSAGE)
        assert await read_frame(other_reader) == MESSAGE
        other_writer.write(encode(MESSAGE)[:-1])
        other_writer.close()
        with pytest.raises(FramingError, match="in the middle of a message"):
            await read_frame(reader)
        with pytest.raises(EOFError):
            await read_frame(reader)
        writer.close()

    asyncio.run(scenario())


def test_asyncio_refuses_a_length_above_the_maximum() -> None:
    async def scenario() -> None:
        (reader, writer), theirs = await _streams()
        with theirs:
            theirs.send(b"\xff\xff\xff\xff")
            with pytest.raises(FramingError, match="announced a message of 4294967295 bytes"):
                await read_frame(reader)
        writer.close()

    asyncio.run(scenario())
