"""What a client proves itself with: a folder that `nightlab station keys` made.

`ca.pem`, `client.pem`, `client.key` for mutual TLS, `token` for the station's own list. A folder with a token alone
serves a station on loopback that asks for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from nightlab.errors import UsageError
from robots.tokens import TOKEN_KEY


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files' contents."""

    token: str = ""
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""

    @classmethod
    def read(cls, folder: Path | str) -> Credentials:
        """From a folder; an empty name: none.

        Raises:
            UsageError: the folder or a part of it is missing.
        """
        if not str(folder):
            return cls()
        where = Path(folder).expanduser()
        try:
            token = (where / "token").read_text().strip()
            if not (where / "ca.pem").exists():
                return cls(token)
            return cls(token, *((where / name).read_bytes() for name in ("ca.pem", "client.pem", "client.key")))
        except OSError as error:
            raise UsageError(
                f"keys of a station in {where}: {error.strerror}: {Path(str(error.filename)).name}. A folder has ca.pem, "
                "client.pem, client.key and token; make them at the station: nightlab station keys DIR"
            ) from error

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return ((TOKEN_KEY, self.token),) if self.token else ()

    def channel(self, address: str, options: Any) -> Any:
        """An asyncio gRPC channel to `address`: mutual TLS where there are certificates."""
        if not self.ca:
            return grpc.aio.insecure_channel(address, options=options)
        secured = grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)
        return grpc.aio.secure_channel(address, secured, options=options)
