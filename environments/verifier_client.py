"""Client of the verifier process. Judging changes nothing, so a call that was cut off is simply made again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from environments.evidence import Message, stored_message, to_message
from environments.frames import encode_depths, encode_frames
from nightlab import errors
from nightlab.contracts import EpisodeEvidence, StoredEvidence
from nightlab.errors import NightlabError, ServiceError
from nightlab.framing import FramingError, encode, read_frame
from nightlab.records import Verdict

RETRY_S = 15.0
"""How long a call waits for a verifier that went away (the supervisor restarts it within seconds)."""
CALL_S = 30.0
"""How long one answer may take."""


class VerifierClient:
    """One connection to the verifier process; calls are made one after the other."""

    def __init__(self, socket_path: Path, call_s: float = CALL_S) -> None:
        self.socket_path = socket_path
        self._call_s = call_s
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @classmethod
    async def connect(
        cls, socket_path: Path | str, *, wait_s: float = RETRY_S, call_s: float = CALL_S
    ) -> VerifierClient:
        """Connect, waiting up to `wait_s` for the process. Raises ServiceError if it does not answer.

        `call_s`: how long one answer may take.
        """
        client = cls(Path(socket_path), call_s)
        await client._call({"call": "ping"}, wait_s)
        return client

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def manifests(self) -> dict[str, str]:
        """Environment → sha256 of the manifest that the process loaded."""
        reply = await self._call({"call": "ping"}, RETRY_S)
        return dict(reply["manifests"])

    async def verify(
        self,
        evidence: EpisodeEvidence,
        *,
        frames_png: Sequence[bytes] | None = None,
        depths_png: Sequence[bytes] | None = None,
    ) -> Verdict:
        """Judge an episode. `frames_png`, `depths_png`: its frames where they are encoded already."""
        pngs, depths = frames_png, depths_png
        if pngs is None:
            pngs = await asyncio.to_thread(encode_frames, [frame.rgb for frame in evidence.frames])
        if depths is None:
            depths = await asyncio.to_thread(encode_depths, [frame.depth_m for frame in evidence.frames])
        message = to_message(
            evidence.environment,
            pngs,
            evidence.observations,
            evidence.faults,
            evidence.start,
            seqs=[frame.seq for frame in evidence.frames],
            cameras=[frame.camera for frame in evidence.frames],
            depths_png=depths,
            measures=evidence.measures,
        )
        return await self._verdict(message)

    async def verify_stored(
        self,
        environment: str,
        stored: StoredEvidence,
        faults: Sequence[str] = (),
        start: Mapping[str, float] | None = None,
    ) -> Verdict:
        """Judge an episode again from what was kept of it. `start`: `ResetReport.achieved`."""
        return await self._verdict(stored_message(environment, stored, faults, start))

    async def _verdict(self, message: Message) -> Verdict:
        reply = await self._call({"call": "verify", **message}, RETRY_S)
        return Verdict.model_validate(reply["verdict"])

    async def _call(self, request: Message, wait_s: float) -> dict[str, Any]:
        """One request, one reply; reconnects for up to `wait_s`. Raises what the process answered."""
        frame = encode(request)
        failing_s, pause_s = 0.0, 0.02  # since when nobody answers; a call that hung may take longer than `wait_s`
        async with self._lock:
            while True:
                try:
                    reply = await asyncio.wait_for(self._exchange(frame), self._call_s)
                    break
                except (OSError, EOFError, FramingError, TimeoutError) as error:
                    await self.close()
                    failing_s = failing_s or time.monotonic()
                    if time.monotonic() > failing_s + wait_s:
                        raise ServiceError(
                            f"the verifier does not answer on {self.socket_path} ({type(error).__name__}: {error}); "
                            "see lab/run/logs/verifier.log, then: nightlab up"
                        ) from error
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, 0.5)
                except BaseException:  # cut off in the middle: the reply must not be taken for the next one's
                    await self.close()
                    raise
        if "error" in reply:
            kind = getattr(errors, str(reply.get("kind")), ServiceError)
            raise (kind if isinstance(kind, type) and issubclass(kind, NightlabError) else ServiceError)(reply["error"])
        return reply

    async def _exchange(self, frame: bytes) -> dict[str, Any]:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(self.socket_path)
        reader, writer = self._streams
        writer.write(frame)
        await writer.drain()
        reply = await read_frame(reader)
        if not isinstance(reply, dict):
            raise FramingError(f"a reply that is not a mapping came from {self.socket_path}")
        return reply
