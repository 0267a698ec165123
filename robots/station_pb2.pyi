from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Empty(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Clock(_message.Message):
    __slots__ = ("wall_s", "station_s")
    WALL_S_FIELD_NUMBER: _ClassVar[int]
    STATION_S_FIELD_NUMBER: _ClassVar[int]
    wall_s: float
    station_s: float
    def __init__(self, wall_s: _Optional[float] = ..., station_s: _Optional[float] = ...) -> None: ...

class Array(_message.Message):
    __slots__ = ("data", "shape", "scalar")
    DATA_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    SCALAR_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    shape: _containers.RepeatedScalarFieldContainer[int]
    scalar: bool
    def __init__(self, data: _Optional[bytes] = ..., shape: _Optional[_Iterable[int]] = ..., scalar: _Optional[bool] = ...) -> None: ...

class Values(_message.Message):
    __slots__ = ("channels",)
    class ChannelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Array
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Array, _Mapping]] = ...) -> None: ...
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    channels: _containers.MessageMap[str, Array]
    def __init__(self, channels: _Optional[_Mapping[str, Array]] = ...) -> None: ...

class Flags(_message.Message):
    __slots__ = ("late", "clamped", "refused", "reason")
    LATE_FIELD_NUMBER: _ClassVar[int]
    CLAMPED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    late: bool
    clamped: bool
    refused: bool
    reason: str
    def __init__(self, late: _Optional[bool] = ..., clamped: _Optional[bool] = ..., refused: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class Observation(_message.Message):
    __slots__ = ("seq", "clock", "values", "executed", "flags", "image_jpeg")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    EXECUTED_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_JPEG_FIELD_NUMBER: _ClassVar[int]
    seq: int
    clock: Clock
    values: Values
    executed: Values
    flags: Flags
    image_jpeg: bytes
    def __init__(self, seq: _Optional[int] = ..., clock: _Optional[_Union[Clock, _Mapping]] = ..., values: _Optional[_Union[Values, _Mapping]] = ..., executed: _Optional[_Union[Values, _Mapping]] = ..., flags: _Optional[_Union[Flags, _Mapping]] = ..., image_jpeg: _Optional[bytes] = ...) -> None: ...

class DescribeReply(_message.Message):
    __slots__ = ("spec_json",)
    SPEC_JSON_FIELD_NUMBER: _ClassVar[int]
    spec_json: str
    def __init__(self, spec_json: _Optional[str] = ...) -> None: ...

class AcquireLeaseRequest(_message.Message):
    __slots__ = ("ticket", "holder", "limits_json", "ttl_s", "wait_s")
    TICKET_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    LIMITS_JSON_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    WAIT_S_FIELD_NUMBER: _ClassVar[int]
    ticket: str
    holder: str
    limits_json: str
    ttl_s: float
    wait_s: float
    def __init__(self, ticket: _Optional[str] = ..., holder: _Optional[str] = ..., limits_json: _Optional[str] = ..., ttl_s: _Optional[float] = ..., wait_s: _Optional[float] = ...) -> None: ...

class AcquireLeaseReply(_message.Message):
    __slots__ = ("granted", "token", "limits_json", "ahead", "held_by", "control_socket")
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LIMITS_JSON_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    HELD_BY_FIELD_NUMBER: _ClassVar[int]
    CONTROL_SOCKET_FIELD_NUMBER: _ClassVar[int]
    granted: bool
    token: str
    limits_json: str
    ahead: int
    held_by: str
    control_socket: str
    def __init__(self, granted: _Optional[bool] = ..., token: _Optional[str] = ..., limits_json: _Optional[str] = ..., ahead: _Optional[int] = ..., held_by: _Optional[str] = ..., control_socket: _Optional[str] = ...) -> None: ...

class LeaseRequest(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: str
    def __init__(self, token: _Optional[str] = ...) -> None: ...

class RenewLeaseReply(_message.Message):
    __slots__ = ("ttl_s",)
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    ttl_s: float
    def __init__(self, ttl_s: _Optional[float] = ...) -> None: ...

class ControlRequest(_message.Message):
    __slots__ = ("open", "step", "hold", "film")
    class Open(_message.Message):
        __slots__ = ("token", "label")
        TOKEN_FIELD_NUMBER: _ClassVar[int]
        LABEL_FIELD_NUMBER: _ClassVar[int]
        token: str
        label: str
        def __init__(self, token: _Optional[str] = ..., label: _Optional[str] = ...) -> None: ...
    class Step(_message.Message):
        __slots__ = ("actions",)
        ACTIONS_FIELD_NUMBER: _ClassVar[int]
        actions: _containers.RepeatedCompositeFieldContainer[Values]
        def __init__(self, actions: _Optional[_Iterable[_Union[Values, _Mapping]]] = ...) -> None: ...
    OPEN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    FILM_FIELD_NUMBER: _ClassVar[int]
    open: ControlRequest.Open
    step: ControlRequest.Step
    hold: Empty
    film: bool
    def __init__(self, open: _Optional[_Union[ControlRequest.Open, _Mapping]] = ..., step: _Optional[_Union[ControlRequest.Step, _Mapping]] = ..., hold: _Optional[_Union[Empty, _Mapping]] = ..., film: _Optional[bool] = ...) -> None: ...

class ControlReply(_message.Message):
    __slots__ = ("observations", "periods", "late", "clamped", "error_kind", "error", "waited_s")
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    PERIODS_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    CLAMPED_FIELD_NUMBER: _ClassVar[int]
    ERROR_KIND_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    WAITED_S_FIELD_NUMBER: _ClassVar[int]
    observations: _containers.RepeatedCompositeFieldContainer[Observation]
    periods: int
    late: int
    clamped: int
    error_kind: str
    error: str
    waited_s: float
    def __init__(self, observations: _Optional[_Iterable[_Union[Observation, _Mapping]]] = ..., periods: _Optional[int] = ..., late: _Optional[int] = ..., clamped: _Optional[int] = ..., error_kind: _Optional[str] = ..., error: _Optional[str] = ..., waited_s: _Optional[float] = ...) -> None: ...

class MoveToPoseRequest(_message.Message):
    __slots__ = ("token", "pose", "arm")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    POSE_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    token: str
    pose: _containers.RepeatedScalarFieldContainer[float]
    arm: str
    def __init__(self, token: _Optional[str] = ..., pose: _Optional[_Iterable[float]] = ..., arm: _Optional[str] = ...) -> None: ...

class GraspRequest(_message.Message):
    __slots__ = ("token", "width_m", "force_N", "arm")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    WIDTH_M_FIELD_NUMBER: _ClassVar[int]
    FORCE_N_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    token: str
    width_m: float
    force_N: float
    arm: str
    def __init__(self, token: _Optional[str] = ..., width_m: _Optional[float] = ..., force_N: _Optional[float] = ..., arm: _Optional[str] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("token", "arm")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    token: str
    arm: str
    def __init__(self, token: _Optional[str] = ..., arm: _Optional[str] = ...) -> None: ...

class ApplyForceRequest(_message.Message):
    __slots__ = ("token", "wrench", "duration_s", "arm")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    WRENCH_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    token: str
    wrench: _containers.RepeatedScalarFieldContainer[float]
    duration_s: float
    arm: str
    def __init__(self, token: _Optional[str] = ..., wrench: _Optional[_Iterable[float]] = ..., duration_s: _Optional[float] = ..., arm: _Optional[str] = ...) -> None: ...

class CaptureRequest(_message.Message):
    __slots__ = ("camera",)
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    camera: str
    def __init__(self, camera: _Optional[str] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("camera", "clock", "seq", "height_px", "width_px", "rgb", "depth_m")
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    RGB_FIELD_NUMBER: _ClassVar[int]
    DEPTH_M_FIELD_NUMBER: _ClassVar[int]
    camera: str
    clock: Clock
    seq: int
    height_px: int
    width_px: int
    rgb: bytes
    depth_m: bytes
    def __init__(self, camera: _Optional[str] = ..., clock: _Optional[_Union[Clock, _Mapping]] = ..., seq: _Optional[int] = ..., height_px: _Optional[int] = ..., width_px: _Optional[int] = ..., rgb: _Optional[bytes] = ..., depth_m: _Optional[bytes] = ...) -> None: ...

class EStopRequest(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class StatsReply(_message.Message):
    __slots__ = ("clock", "station_id", "uptime_s", "seq", "periods", "late", "clamped", "refused", "streams", "faults", "control_wall_s", "control_station_s", "lease_holder", "lease_waiting", "leases_lapsed", "estop", "label", "cpu_s", "last_motion_s", "estop_s", "protective_stops")
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    STATION_ID_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    PERIODS_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    CLAMPED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    CONTROL_WALL_S_FIELD_NUMBER: _ClassVar[int]
    CONTROL_STATION_S_FIELD_NUMBER: _ClassVar[int]
    LEASE_HOLDER_FIELD_NUMBER: _ClassVar[int]
    LEASE_WAITING_FIELD_NUMBER: _ClassVar[int]
    LEASES_LAPSED_FIELD_NUMBER: _ClassVar[int]
    ESTOP_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CPU_S_FIELD_NUMBER: _ClassVar[int]
    LAST_MOTION_S_FIELD_NUMBER: _ClassVar[int]
    ESTOP_S_FIELD_NUMBER: _ClassVar[int]
    PROTECTIVE_STOPS_FIELD_NUMBER: _ClassVar[int]
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
    control_station_s: float
    lease_holder: str
    lease_waiting: int
    leases_lapsed: int
    estop: str
    label: str
    cpu_s: float
    last_motion_s: float
    estop_s: float
    protective_stops: int
    def __init__(self, clock: _Optional[_Union[Clock, _Mapping]] = ..., station_id: _Optional[str] = ..., uptime_s: _Optional[float] = ..., seq: _Optional[int] = ..., periods: _Optional[int] = ..., late: _Optional[int] = ..., clamped: _Optional[int] = ..., refused: _Optional[int] = ..., streams: _Optional[int] = ..., faults: _Optional[int] = ..., control_wall_s: _Optional[float] = ..., control_station_s: _Optional[float] = ..., lease_holder: _Optional[str] = ..., lease_waiting: _Optional[int] = ..., leases_lapsed: _Optional[int] = ..., estop: _Optional[str] = ..., label: _Optional[str] = ..., cpu_s: _Optional[float] = ..., last_motion_s: _Optional[float] = ..., estop_s: _Optional[float] = ..., protective_stops: _Optional[int] = ...) -> None: ...

class TeleportRequest(_message.Message):
    __slots__ = ("start", "episode_seed")
    class StartEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    START_FIELD_NUMBER: _ClassVar[int]
    EPISODE_SEED_FIELD_NUMBER: _ClassVar[int]
    start: _containers.ScalarMap[str, float]
    episode_seed: int
    def __init__(self, start: _Optional[_Mapping[str, float]] = ..., episode_seed: _Optional[int] = ...) -> None: ...

class TruthReply(_message.Message):
    __slots__ = ("values",)
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.ScalarMap[str, float]
    def __init__(self, values: _Optional[_Mapping[str, float]] = ...) -> None: ...

class ConfigureRequest(_message.Message):
    __slots__ = ("profile", "station_seed")
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    STATION_SEED_FIELD_NUMBER: _ClassVar[int]
    profile: str
    station_seed: int
    def __init__(self, profile: _Optional[str] = ..., station_seed: _Optional[int] = ...) -> None: ...
