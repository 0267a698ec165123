"""Between records and protobuf messages, and between errors and gRPC status. Both server and client use it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # we fork only to exec
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what fails is raised, in our words

import grpc
import numpy as np
from numpy.typing import NDArray

from nightlab import contracts
from nightlab.contracts import Values
from nightlab.errors import EstopError, LeaseError, NightlabError, SafetyError, StationError, UsageError
from nightlab.records import Clock, StepFlags
from robots import station_pb2 as pb
from robots.clock import Stamp
from robots.session import Reply
from robots.tick import Tick

MAX_MESSAGE_BYTES: Final = 64 * 2**20
NOT_OPEN: Final = "the first message of a control stream is `open`"
JPEG_QUALITY: Final = 85
CONTROL_SOCKET: Final = "nightlab-"
"""What the names of abstract Unix sockets for control streams begin with."""
ADMIN_TOKEN_KEY: Final = "nightlab-admin-token"
CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),  # also the time that one attempt to connect has
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # connecting again never means waiting on the line that was cut
    ("grpc.optimization_target", "latency"),
)
SERVER_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # a taken port must be an error, not a shared one
)

STATUS: Final = {
    LeaseError: grpc.StatusCode.PERMISSION_DENIED,
    SafetyError: grpc.StatusCode.INVALID_ARGUMENT,
    UsageError: grpc.StatusCode.OUT_OF_RANGE,
    EstopError: grpc.StatusCode.ABORTED,
    StationError: grpc.StatusCode.FAILED_PRECONDITION,
}
KINDS: Final[dict[str, type[NightlabError]]] = {kind.__name__: kind for kind in STATUS}
_BY_STATUS: Final[dict[Any, type[NightlabError]]] = {code: kind for kind, code in STATUS.items()}
_FLOAT64: Final = np.dtype("<f8")
_NO_FLAGS: Final = StepFlags()


def status_of(error: Exception) -> tuple[Any, str]:
    """The gRPC status code and details of an error; anything unexpected is a fault of the station."""
    for kind, code in STATUS.items():
        if isinstance(error, kind):
            return code, str(error)
    return STATUS[StationError], f"station fault: {type(error).__name__}: {error}; see the station's log"


def kind_of(error: Exception) -> str:
    """The name under which an error travels in a control stream."""
    return next((kind.__name__ for kind in STATUS if isinstance(error, kind)), "StationError")


def error_of(error: Any, what: str, address: str, timeout_s: float | None = None) -> NightlabError:
    """The error that a failed RPC stands for: ours if the server raised it, else StationError saying what to do."""
    code, details = error.code(), error.details() or ""
    if code in _BY_STATUS:
        return _BY_STATUS[code](details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return silent(what, address, timeout_s)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return StationError(f"{what}: {details}")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL):  # no code of ours
        return gone(what, address)
    return StationError(f"{what}: the station at {address} failed with {code.name}: {details}")


def gone(what: str, address: str) -> StationError:
    """Nobody answers at the address."""
    return StationError(
        f"{what}: no station answers at {address}; it was killed, is restarting or never ran. Try: nightlab status"
    )


def silent(what: str, address: str, timeout_s: float | None) -> StationError:
    """Somebody listens and does not answer."""
    waited = f"within {timeout_s:g} s" if timeout_s is not None else "in time"
    return StationError(f"{what}: the station at {address} did not answer {waited}. Try: nightlab status")


def pack_values(values: Values, into: pb.Values) -> pb.Values:
    """Write named arrays into a message."""
    channels = into.channels
    for key, value in values.items():
        array = channels[key]
        array.data = value.astype(_FLOAT64, copy=False).tobytes()
        if value.ndim != 1:
            array.shape.extend(value.shape)
            array.scalar = value.ndim == 0
    return into


def unpack_values(message: pb.Values) -> dict[str, NDArray[np.float64]]:
    """Named float64 arrays from a message.

    Raises:
        SafetyError: data that is no float64, or a shape that does not fit it.
    """
    out = {}
    for key, array in message.channels.items():
        data = array.data
        if len(data) % 8:
            raise SafetyError(f"{key!r}: {len(data)} bytes are no float64 numbers; the robot held")
        value: NDArray[np.float64] = np.frombuffer(bytearray(data), _FLOAT64)  # its own, so it can be written to
        shape = tuple(array.shape)
        if shape or array.scalar:
            try:
                value = value.reshape(shape)
            except ValueError:
                raise SafetyError(f"{key!r}: {value.size} numbers do not fit shape {shape}; the robot held") from None
        out[key] = value
    return out


def as_arrays(values: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Float64 arrays of whatever a caller gave.

    Raises:
        SafetyError: something that is not numbers.
    """
    try:
        return {key: np.asarray(value, dtype=np.float64) for key, value in values.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise SafetyError(f"an action is a mapping of names to float arrays, got {values!r:.200}: {error}") from error


def pack_clock(clock: Clock | Stamp, into: pb.Clock) -> None:
    """Write both clocks."""
    into.wall_s = clock.wall_s
    into.station_s = clock.station_s


def unpack_clock(message: pb.Clock) -> Clock:
    """Both clocks from a message."""
    return Clock(wall_s=message.wall_s, station_s=message.station_s)


def pack_tick(tick: Tick, into: pb.Observation) -> pb.Observation:
    """Write an observation."""
    into.seq = tick.seq
    pack_clock(tick.stamp, into.clock)
    pack_values(tick.values, into.values)
    if tick.executed:
        pack_values(tick.executed, into.executed)
    flags = tick.flags
    if flags is not None:
        into.flags.late, into.flags.clamped = flags.late, flags.clamped
        into.flags.refused, into.flags.reason = flags.refused, flags.reason
    return into


def unpack_observation(message: pb.Observation) -> contracts.Observation:
    """An observation from a message."""
    flags = _NO_FLAGS
    if message.HasField("flags"):
        sent = message.flags
        flags = StepFlags(late=sent.late, clamped=sent.clamped, refused=sent.refused, reason=sent.reason)
    return contracts.Observation(
        seq=message.seq,
        clock=unpack_clock(message.clock),
        values=unpack_values(message.values),
        executed=unpack_values(message.executed),
        flags=flags,
        image_jpeg=message.image_jpeg or None,
    )


def pack_reply(reply: Reply) -> pb.ControlReply:
    """What a request on a control stream came to, as a message."""
    out = pb.ControlReply(periods=reply.periods, late=reply.late, clamped=reply.clamped, waited_s=reply.waited_s or 0.0)
    out.error_kind, out.error = reply.error_kind, reply.error
    for tick, picture in zip(reply.observations, reply.pictures, strict=True):
        message = pack_tick(tick, out.observations.add())
        if picture is not None:
            message.image_jpeg = jpeg(picture)
    return out


def unpack_request(request: pb.ControlRequest) -> tuple[list[Values] | None, bool]:
    """Actions of a step, None for a hold; and whether to film.

    Raises:
        StationError: neither of both.
        SafetyError: actions that are no arrays.
    """
    match request.WhichOneof("ask"):
        case "step":
            return [unpack_values(action) for action in request.step.actions], request.film
        case "hold":
            return None, request.film
        case other:
            raise StationError(f"after `open` a control stream takes `step` or `hold`, got {other!r}")


def jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """A picture, uint8 [height, width, 3] RGB, as JPEG. Raises StationError."""
    import cv2

    ok, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise StationError("a picture could not be encoded as JPEG")
    encoded: bytes = data.tobytes()
    return encoded
