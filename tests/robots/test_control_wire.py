from __future__ import annotations

import numpy as np
import pytest

from nightlab.errors import SafetyError, StationError
from nightlab.records import StepFlags
from robots import control_wire
from robots.clock import Stamp
from robots.session import Reply
from robots.tick import Tick


def test_a_reply_survives_the_wire() -> None:
    flags = StepFlags(late=True, reason="no action in time: held")
    values = {"pose": np.arange(3.0), "scalar": np.array(2.5), "table": np.arange(6.0).reshape(2, 3)}
    ticks = [Tick(7, Stamp(10.0, 20.0), values, {"xy": np.ones(2)}, flags), Tick(8, Stamp(11.0, 22.0), values, {})]
    sent = Reply(ticks, [None, np.full((8, 8, 3), 200, np.uint8)], 2, 1, 1, 0.25, "SafetyError", "too far")
    back = control_wire.unpack_reply(control_wire.pack_reply(sent))
    assert (back.periods, back.late, back.clamped, back.waited_s) == (2, 1, 1, 0.25)
    assert (back.error_kind, back.error) == ("SafetyError", "too far")
    first, second = back.observations
    assert (first.seq, first.clock.wall_s, first.clock.station_s, first.flags) == (7, 10.0, 20.0, flags)
    assert (first.image_jpeg, second.flags) == (None, StepFlags())
    assert second.image_jpeg is not None
    assert second.image_jpeg.startswith(b"\xff\xd8"), "a JPEG"
    for key, value in values.items():
        np.testing.assert_array_equal(first.values[key], value)
        assert first.values[key].shape == value.shape
        assert first.values[key].flags.writeable, "the receiver's own"
    np.testing.assert_array_equal(first.executed["xy"], [1, 1])


def test_requests_survive_the_wire() -> None:
    assert control_wire.unpack_open(control_wire.pack_open("token", "label")) == ("token", "label")
    assert control_wire.unpack_request(control_wire.pack_request(None, True)) == (None, True)
    chunk, film = control_wire.unpack_request(control_wire.pack_request([{"xy": np.array([1.0, np.nan])}], False))
    assert chunk is not None
    assert not film
    np.testing.assert_array_equal(chunk[0]["xy"], [1.0, np.nan])


@pytest.mark.parametrize("body", [b"\xc1", b"\x81\x91\x01\x01"])
def test_what_is_no_message_is_the_clients_fault(body: bytes) -> None:
    for unpack in (control_wire.unpack_open, control_wire.unpack_request):
        with pytest.raises(StationError, match=r"control stream: a frame of . bytes is no msgpack"):
            unpack(body)
    with pytest.raises(SafetyError, match="the first message of a control stream is `open`"):
        control_wire.unpack_open(control_wire.pack_request(None, False))
