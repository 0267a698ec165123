import pytest

from commands.environment import database_url, service_environment
from nightlab.errors import UsageError


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("postgresql://u:p@host/db", "postgresql+asyncpg://u:p@host/db"),
        ("postgres://u@/db?host=/run/pg", "postgresql+asyncpg://u@/db?host=/run/pg"),
        ("postgresql+asyncpg://u@h/db", "postgresql+asyncpg://u@h/db"),
    ],
)
def test_a_postgresql_url_as_people_write_it(given: str, taken: str, tmp_path) -> None:
    assert database_url(given) == taken
    made = service_environment(tmp_path, "http://x/api", base={"NIGHTLAB_PREFECT_DATABASE_URL": given})
    assert made["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == taken


def test_another_database_is_refused_with_what_to_write() -> None:
    with pytest.raises(UsageError, match=r"'mysql://x'.*prefect_database_url: postgresql://.*docs/postgresql.md"):
        database_url("mysql://x")
