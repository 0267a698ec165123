"""The command line's calls of Prefect where nobody answers; with a server: test_prefect.py."""

import asyncio

import pytest

from commands.prefect_api import run_state
from nightlab.errors import ServiceError


def test_a_server_that_is_away_is_one_clear_line() -> None:
    with pytest.raises(
        ServiceError, match=r"Prefect does not answer at http://127\.0\.0\.1:1/api/flow_runs/x: .*nightlab status"
    ):
        asyncio.run(run_state("x", api_url="http://127.0.0.1:1/api"))
