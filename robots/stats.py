"""What a station server did since it was started."""

from __future__ import annotations

from nightlab.records import Clock
from nightlab.records.base import Record
from robots import station_pb2 as pb
from robots import wire


class StationStats(Record):
    """Counters of one station server."""

    clock: Clock
    station_id: str
    uptime_s: float
    seq: int
    periods: int
    late: int
    clamped: int
    refused: int
    streams: int
    faults: int
    control_wall_s: float
    """Wall seconds inside control streams that have ended; with `control_station_s` the achieved speed."""
    control_station_s: float
    lease_holder: str
    """Empty: nobody."""
    lease_waiting: int
    leases_lapsed: int
    estop: str
    """Reason of the e-stop that holds; empty: none."""
    label: str
    """Label of the open control stream; empty: none."""
    cpu_s: float
    last_motion_s: float = 0.0
    """Wall clock of the latest command that the driver was given; 0: none yet."""
    estop_s: float = 0.0
    """Wall clock at which the e-stop was latched; 0: it is not."""
    protective_stops: int = 0
    """Limits that were measured to be passed."""

    @classmethod
    def from_reply(cls, reply: pb.StatsReply) -> StationStats:
        """From the message of the same name."""
        fields = {name: getattr(reply, name) for name in cls.model_fields if name not in ("clock", "schema_version")}
        return cls(clock=wire.unpack_clock(reply.clock), **fields)
