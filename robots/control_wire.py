"""The messages of the control socket: lists in msgpack (nightlab/framing.py), arrays as in nightlab/arrays.py.

    ["open", token, label]   ["step", [action, …], film]   ["hold", film]
    [[observation, …], periods, late, clamped, waited_s, error_kind, error]
    observation: [seq, wall_s, station_s, values, executed, [late, clamped, refused, reason] or nil, jpeg or nil]

What `Control` of station.proto says in protobuf, at half its cost. Requests are not trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nightlab import arrays, contracts
from nightlab.contracts import Values
from nightlab.errors import SafetyError, StationError
from nightlab.framing import FramingError, decode, pack_message
from nightlab.records import Clock, StepFlags
from robots import wire
from robots.control_line import Answer
from robots.session import Reply
from robots.tick import Tick

_NO_FLAGS: Final = StepFlags()


def pack_open(token: str, label: str) -> bytes:
    """The first request."""
    return pack_message(["open", token, label])


def unpack_open(body: bytes) -> tuple[str, str]:
    """Token and label.

    Raises:
        StationError: no msgpack.
        SafetyError: another message.
    """
    match _decoded(body):
        case ["open", str(token), str(label)]:
            return token, label
    raise SafetyError(wire.NOT_OPEN)


def pack_request(chunk: Sequence[Values] | None, film: bool) -> bytes:
    """A step, or a hold (None)."""
    return pack_message(["hold", film] if chunk is None else ["step", [arrays.pack(action) for action in chunk], film])


def unpack_request(body: bytes) -> tuple[list[Values] | None, bool]:
    """Actions of a step, None for a hold; and whether to film.

    Raises:
        StationError: no msgpack, or no request.
        SafetyError: actions that are no named arrays.
    """
    match _decoded(body):
        case ["hold", bool(film)]:
            return None, film
        case ["step", list(chunk), bool(film)]:
            try:
                return [arrays.unpack(action) for action in chunk], film
            except (ValueError, TypeError) as error:
                raise SafetyError(f"{error}; the robot held") from None
    raise StationError("after `open` a control stream takes `step` or `hold`")


def pack_reply(reply: Reply) -> bytes:
    """What a request came to."""
    observations = [_pack_tick(*pair) for pair in zip(reply.observations, reply.pictures, strict=True)]
    counts = [reply.periods, reply.late, reply.clamped, reply.waited_s or 0.0]
    return pack_message([observations, *counts, reply.error_kind, reply.error])


def unpack_reply(body: bytes) -> Answer:
    """The client's view of it.

    Raises:
        FramingError, ValueError, TypeError: no such message.
    """
    observations, periods, late, clamped, waited_s, error_kind, error = decode(body)
    return Answer([_unpack_tick(*tick) for tick in observations], periods, late, clamped, waited_s, error_kind, error)


def _pack_tick(tick: Tick, picture: Any) -> list[Any]:
    flags = tick.flags
    return [
        tick.seq,
        tick.stamp.wall_s,
        tick.stamp.station_s,
        arrays.pack(tick.values),
        arrays.pack(tick.executed),
        None if flags is None else [flags.late, flags.clamped, flags.refused, flags.reason],
        None if picture is None else wire.jpeg(picture),
    ]


def _unpack_tick(
    seq: int, wall_s: float, station_s: float, values: Any, executed: Any, flags: Any, picture: bytes | None
) -> contracts.Observation:
    said = _NO_FLAGS
    if flags is not None:
        late, clamped, refused, reason = flags
        said = StepFlags(late=late, clamped=clamped, refused=refused, reason=reason)
    clock = Clock(wall_s=wall_s, station_s=station_s)
    return contracts.Observation(seq, clock, arrays.unpack(values), arrays.unpack(executed), said, picture)


def _decoded(body: bytes) -> Any:
    try:
        return decode(body)
    except FramingError as error:
        raise StationError(f"control stream: {error}") from None
