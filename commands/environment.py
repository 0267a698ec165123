"""The environment variables of every process of a lab: where Prefect answers, no telemetry, loopback without proxy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nightlab.errors import UsageError

PROJECT = Path(__file__).resolve().parent.parent
"""Root of the project's clone: working directory of every process of a lab."""

HEARTBEAT_S = 120
"""Period of the flow runs' heartbeats in Prefect, seconds; a run is a zombie after three of them.

Each iteration sends them too, and each costs the server a transaction: at 30 s they took it longer than its polls. What
hangs is found in 15 s by other means (`commands/hearts.py`), what a dead fleet left behind by the next one.
"""

POLL_S = 30
"""Between two polls of a work pool by its worker, seconds; `commands/doorbell.py` asks it to fetch what is due before that.

Of 60 s, after which Prefect calls the pool's queue and its deployments "not ready", little may be used up.
"""
PREFETCH_S = 2
"""Flow runs are fetched so long before their time, seconds."""

CLEANUP_S = 120
"""Between two looks of Prefect's server for subflows of cancelled runs, seconds.

It asks the database thrice for each subflow under way; `commands/flow_runs.py` finds those sooner and with one question.
"""

_DROP = (
    "PREFECT_",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "NIGHTLAB_LAB",
    "NIGHTLAB_FLEET_PID",
    "NIGHTLAB_WARM_SOCKET",
)


def database_url(text: str) -> str:
    """The URL as Prefect takes it: `postgresql://…` as `postgresql+asyncpg://…`.

    Raises:
        UsageError: it names another kind of database.
    """
    kind, separator, rest = text.partition("://")
    if not separator or kind not in ("postgresql", "postgres", "postgresql+asyncpg", "sqlite+aiosqlite"):
        raise UsageError(
            f"Prefect's database {text!r}: a PostgreSQL URL is needed, or none for SQLite inside the lab. Try: "
            "prefect_database_url: postgresql://USER@HOST/NAME in lab.yaml, its password elsewhere (docs/postgresql.md)"
        )
    return f"{kind}://{rest}" if "+" in kind else f"postgresql+asyncpg://{rest}"


def service_environment(lab: Path, api_url: str, *, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment of a process of the lab.

    Starts from `base` (default: this process's own) without any Prefect setting, so that the profile of the user's
    other Prefect installation cannot leak in. `NIGHTLAB_PREFECT_DATABASE_URL` names a PostgreSQL database for Prefect.

    Args:
        lab: The lab directory; Prefect's home is its folder `prefect`.
        api_url: `http://127.0.0.1:PORT/api`.
        base: Environment to start from.
    """
    source = os.environ if base is None else base
    environment = {key: value for key, value in source.items() if not key.startswith(_DROP)}
    lab = lab.resolve()
    environment |= {
        "NIGHTLAB_LAB": str(lab),
        "PREFECT_HOME": str(lab / "prefect"),
        "PREFECT_API_URL": api_url,
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
        "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",  # loopback http: building a TLS context costs 0.4 s a client
        "PREFECT_CLIENT_MAX_RETRIES": "1000000",  # the server comes back: the supervisor sees to that
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": str(CLEANUP_S),
        "PREFECT_WORKER_QUERY_SECONDS": str(POLL_S),
        "PREFECT_WORKER_PREFETCH_SECONDS": str(PREFETCH_S),
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "30",
        "PREFECT_WORKER_ENABLE_CANCELLATION": "true",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "SDL_VIDEODRIVER": "dummy",
        "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    }
    loopback = "127.0.0.1,localhost"
    for key in ("NO_PROXY", "no_proxy"):
        environment[key] = ",".join(filter(None, (environment.get(key, ""), loopback)))
    if database := source.get("NIGHTLAB_PREFECT_DATABASE_URL"):
        environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database_url(database)
    else:  # without it, Prefect answers 503 to a locked SQLite database and says nothing
        environment["PREFECT_SERVER_LOG_RETRYABLE_ERRORS"] = "true"
    return environment


def adopt(environment: Mapping[str, str]) -> None:
    """Make this process's environment the given one. Call before `prefect` is imported."""
    for key in list(os.environ):
        if key.startswith(_DROP):
            del os.environ[key]
    os.environ.update(environment)
