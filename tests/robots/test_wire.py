from __future__ import annotations

import struct

import numpy as np
import pytest

from nightlab.errors import LeaseError, SafetyError, StationError, UsageError
from nightlab.records import StepFlags
from robots import station_pb2 as pb
from robots import wire
from robots.clock import Stamp
from robots.tick import Tick


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (0,)])
def test_arrays_keep_their_shape(shape: tuple[int, ...]) -> None:
    value = np.arange(np.prod(shape), dtype=np.float64).reshape(shape) + 0.1
    (back,) = wire.unpack_values(wire.pack_values({"a": value}, pb.Values())).values()
    assert (back.shape, back.dtype) == (shape, np.float64)
    np.testing.assert_array_equal(back, value)


def test_nan_travels_so_that_the_station_can_refuse_it() -> None:
    (back,) = wire.unpack_values(wire.pack_values({"a": np.array([np.nan])}, pb.Values())).values()
    assert np.isnan(back).all()


def test_a_lying_shape_is_refused() -> None:
    message = pb.Values()
    message.channels["xy"].data = np.array([1.0, 2.0, 3.0]).tobytes()
    message.channels["xy"].shape.extend([2, 2])
    with pytest.raises(SafetyError, match=r"'xy': 3 numbers do not fit shape \(2, 2\); the robot held"):
        wire.unpack_values(message)


def test_data_that_is_no_float64_is_refused() -> None:
    message = pb.Values()
    message.channels["xy"].data = bytes(15)
    with pytest.raises(SafetyError, match=r"'xy': 15 bytes are no float64 numbers; the robot held"):
        wire.unpack_values(message)


def test_numbers_lie_on_the_wire_as_repeated_double_does() -> None:
    message = wire.pack_values({"a": np.array([1.5, -2.0])}, pb.Values()).channels["a"]
    assert message.SerializeToString() == bytes([0x0A, 16]) + struct.pack("<dd", 1.5, -2.0)


@pytest.mark.parametrize("bad", [{"xy": "north"}, {"xy": [[1], [2, 3]]}, None, [1.0, 2.0]])
def test_what_is_no_numbers_is_refused_before_it_is_sent(bad: object) -> None:
    with pytest.raises(SafetyError, match="an action is a mapping of names to float arrays"):
        wire.as_arrays(bad)  # type: ignore[arg-type]


def test_an_observation_survives_the_wire() -> None:
    flags = StepFlags(clamped=True, reason="too far")
    tick = Tick(7, Stamp(10.0, 20.0), {"pose": np.arange(3.0)}, {"xy": np.ones(2)}, flags)
    back = wire.unpack_observation(
        pb.Observation.FromString(wire.pack_tick(tick, pb.Observation()).SerializeToString())
    )
    assert (back.seq, back.clock.wall_s, back.clock.station_s, back.flags) == (7, 10.0, 20.0, flags)
    np.testing.assert_array_equal(back.values["pose"], [0, 1, 2])
    np.testing.assert_array_equal(back.executed["xy"], [1, 1])
    assert back.image_jpeg is None


@pytest.mark.parametrize("error", [LeaseError("l"), SafetyError("s"), UsageError("u"), StationError("x")])
def test_our_errors_keep_their_kind(error: Exception) -> None:
    assert wire.kind_of(error) == type(error).__name__
    assert wire.KINDS[wire.kind_of(error)] is type(error)


def test_anything_else_is_a_fault_of_the_station() -> None:
    code, text = wire.status_of(ZeroDivisionError("division by zero"))
    assert wire._BY_STATUS[code] is StationError
    assert text == "station fault: ZeroDivisionError: division by zero; see the station's log"
