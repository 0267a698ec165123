"""Who may do what at a station: tokens by holder, known to the server as sha256 hashes alone.

A holder may look, lease and drive; an operator may also clear an e-stop. Stopping needs no token: whoever reaches the
server may stop the robot. The file is YAML: `tokens: [{holder, role, sha256}, …]`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import grpc
import yaml
from pydantic import Field, ValidationError

from nightlab.errors import UsageError
from nightlab.records.base import Record

TOKEN_KEY: Final = "nightlab-token"
"""gRPC metadata that carries the token."""
STATION: Final = "/nightlab.v1.Station/"
FREE: Final = (STATION + "EStop",)
"""Calls that need no token."""
OPERATORS: Final = (STATION + "ClearEStop",)
"""Calls that need an operator's."""


class Role(StrEnum):
    """What a token is good for."""

    HOLDER = "holder"
    OPERATOR = "operator"


class TokenEntry(Record):
    """One token, as the server knows it."""

    holder: str
    role: Role = Role.HOLDER
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class TokensFile(Record):
    """The file."""

    tokens: tuple[TokenEntry, ...] = Field(min_length=1)


class Tokens:
    """The tokens of one station.

    Args:
        entries: who there is.
        everywhere: every call needs a token; else only those of operators do, and only if there is an operator.
    """

    def __init__(self, entries: Iterable[TokenEntry] = (), *, everywhere: bool = False) -> None:
        self._entries = tuple(entries)
        self._everywhere = everywhere
        self._operators = any(entry.role is Role.OPERATOR for entry in self._entries)

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """The tokens of a file; every call needs one.

        Raises:
            UsageError: no such file, or not of this form.
        """
        try:
            file = TokensFile.model_validate(yaml.safe_load(path.read_text()))
        except OSError as error:
            raise UsageError(f"tokens {path}: {error.strerror}. Make them: nightlab station keys DIR") from error
        except (yaml.YAMLError, ValidationError) as error:
            raise UsageError(f"tokens {path}: not a tokens file. Make one: nightlab station keys DIR") from error
        return cls(file.tokens, everywhere=True)

    @classmethod
    def operator(cls, token: str) -> Tokens:
        """Anybody may look and drive, as on loopback; only this token clears an e-stop."""
        return cls([TokenEntry(holder="operator", role=Role.OPERATOR, sha256=digest(token))])

    def who(self, token: str) -> TokenEntry | None:
        """Whose token it is; every entry is compared, in constant time."""
        given, found = digest(token), None
        for entry in self._entries:
            if hmac.compare_digest(given, entry.sha256):
                found = entry
        return found

    def refusal(self, method: str, token: str) -> str:
        """Why a call may not be made; empty: it may."""
        if method in FREE or not method.startswith(STATION):
            return ""
        needs_operator = method in OPERATORS and (self._operators or self._everywhere)
        if not (self._everywhere or needs_operator):
            return ""
        entry = self.who(token) if token else None
        if entry is None:
            return "wrong or missing token" + (
                ": only an operator clears an e-stop. On its host: nightlab station clear station.yaml"
                if needs_operator
                else "; connect with the folder of your keys"
            )
        if needs_operator and entry.role is not Role.OPERATOR:
            return f"{entry.holder} is no operator: only an operator clears an e-stop"
        return ""


class TokenInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls without the token that they need, before the service sees them."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        given = dict(details.invocation_metadata or ()).get(TOKEN_KEY, "")
        why = self._tokens.refusal(details.method, given if isinstance(given, str) else "")
        handler = continuation(details)
        if not why or handler is None:
            return handler

        def refuse(request: Any, context: Any) -> Any:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, why)

        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                refuse, handler.request_deserializer, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(refuse, handler.request_deserializer, handler.response_serializer)


def digest(token: str) -> str:
    """What a server knows of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    """256 random bits, hexadecimal."""
    return secrets.token_hex(32)
