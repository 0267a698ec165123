"""Messages over a stream socket: 4-byte big-endian length, then msgpack. No pickle, so reading runs nobody's code.

`send`/`recv` for blocking sockets, `write_frame`/`read_frame` for asyncio streams. A peer that closes the stream
between two messages reads as EOFError; a length above `MAX_FRAME_BYTES`, a broken frame or bytes that are no msgpack
as FramingError.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final

import msgpack

from nightlab.errors import NightlabError

MAX_FRAME_BYTES: Final = 8 * 1024 * 1024
LENGTH: Final = struct.Struct(">I")
"""What stands before each frame."""


class FramingError(NightlabError):
    """The peer broke the framing: too long, cut off, or no msgpack."""


def pack_message(message: Any) -> bytes:
    """A message as a frame's body."""
    body: bytes = msgpack.packb(message, use_bin_type=True)
    if len(body) > MAX_FRAME_BYTES:
        raise FramingError(f"a message of {len(body)} bytes is longer than the {MAX_FRAME_BYTES} that one frame holds")
    return body


def encode(message: Any) -> bytes:
    """A message as one frame."""
    body = pack_message(message)
    return LENGTH.pack(len(body)) + body


def decode(body: bytes | bytearray | memoryview) -> Any:
    """A frame's body as the message it holds."""
    try:
        return msgpack.unpackb(body, raw=False, strict_map_key=False)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise FramingError(f"a frame of {len(body)} bytes is no msgpack: {error}") from error


def _checked(head: bytes) -> int:
    length: int = LENGTH.unpack(head)[0]
    if length > MAX_FRAME_BYTES:
        raise FramingError(f"the peer announced a message of {length} bytes; one frame holds {MAX_FRAME_BYTES}")
    return length


def send(connection: socket.socket, message: Any) -> None:
    """Send one message over a blocking socket."""
    connection.sendall(encode(message))


def recv(connection: socket.socket) -> Any:
    """Receive one message from a blocking socket; EOFError if the peer has closed it."""
    return decode(_exactly(connection, _checked(_exactly(connection, LENGTH.size, first=True))))


def _exactly(connection: socket.socket, length: int, *, first: bool = False) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            if first and not data:
                raise EOFError("the peer closed the connection")
            raise FramingError(f"the peer closed the connection {length - len(data)} bytes before the end of a message")
        data += part
    return bytes(data)


async def write_frame(writer: asyncio.StreamWriter, message: Any) -> None:
    """Send one message over an asyncio stream."""
    writer.write(encode(message))
    await writer.drain()


async def read_frame(reader: asyncio.StreamReader) -> Any:
    """Receive one message from an asyncio stream; EOFError if the peer has closed it."""
    try:
        head = await reader.readexactly(LENGTH.size)
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            raise EOFError("the peer closed the connection") from None
        raise FramingError("the peer closed the connection in the middle of a message") from None
    try:
        return decode(await reader.readexactly(_checked(head)))
    except asyncio.IncompleteReadError:
        raise FramingError("the peer closed the connection in the middle of a message") from None
