"""The client of a simulated station's admin socket. Implements `nightlab.contracts.SimulatorAdmin`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightlab.errors import StationError
from robots import station_pb2 as pb
from robots import station_pb2_grpc as rpc
from robots import wire
from robots.calls import Channel

CONFIGURE_S = 20.0


class AdminClient:
    """Teleport, ground truth and sampling of a simulated station; for reset and the verifier workbench only."""

    def __init__(self, channel: Channel, token: str) -> None:
        self._channel = channel
        self._stub: Any = rpc.SimulatorAdminStub(channel.grpc)  # type: ignore[no-untyped-call]
        self._metadata = ((wire.ADMIN_TOKEN_KEY, token),)

    @classmethod
    async def connect(cls, socket_path: Path | str) -> AdminClient:
        """Connect to `StationPlace.admin_socket`; the token is read from the file beside it.

        Raises:
            StationError: no token file, or nobody answers.
        """
        path = Path(socket_path)
        token_file = path.with_name(path.name + ".token")
        try:
            token = token_file.read_text()
        except OSError as error:
            raise StationError(
                f"no admin token at {token_file}: no simulated station serves {path}. Try: nightlab status"
            ) from error
        client = cls(Channel(f"unix:{path.absolute()}"), token)
        try:
            await client.truth()
        except BaseException:
            await client.close()
            raise
        return client

    async def teleport(self, start: Mapping[str, float], episode_seed: int) -> None:
        """Put the world at `start` (keys and units stand in the world's module) and draw the episode's traits.

        Raises:
            StationError: keys that the world does not know, or a control stream is open.
        """
        ask = pb.TeleportRequest(start=dict(start), episode_seed=episode_seed)
        await self._call(self._stub.Teleport, ask, "teleport")

    async def truth(self) -> Mapping[str, float]:
        """The true state; never for a policy."""
        return dict((await self._call(self._stub.Truth, pb.Empty(), "truth")).values)

    async def configure(self, profile: str, station_seed: int | None = None) -> None:
        """Sample the station anew; None: with the seed that its server was started with.

        Raises:
            UsageError: unknown profile.
            StationError: a control stream is open.
        """
        ask = pb.ConfigureRequest(profile=profile, station_seed=station_seed)
        await self._call(self._stub.Configure, ask, "configure", timeout_s=CONFIGURE_S)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def _call(self, method: Any, request: Any, what: str, timeout_s: float = 5.0) -> Any:
        return await self._channel.call(method, request, what, timeout_s=timeout_s, metadata=self._metadata)
