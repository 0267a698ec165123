from pathlib import Path

import pytest

from commands.environment import poll_s, service_environment
from commands.prefect_server import bind, check_versions
from nightlab.errors import ServiceError


def test_no_foreign_prefect_setting_leaks_in(tmp_path: Path) -> None:
    base = {"PREFECT_API_KEY": "theirs", "PREFECT_PROFILE": "cloud", "PATH": "/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    made = service_environment(tmp_path, "http://127.0.0.1:1/api", base=base)
    assert made["PATH"] == "/bin"
    assert made["PREFECT_HOME"] == str(tmp_path / "prefect")
    assert made["NIGHTLAB_LAB"] == str(tmp_path)
    assert not {"PREFECT_API_KEY", "PREFECT_PROFILE", "PYTHONDONTWRITEBYTECODE"} & made.keys()


def test_nothing_is_sent_anywhere(tmp_path: Path) -> None:
    made = service_environment(tmp_path, "http://127.0.0.1:1/api", base={"NO_PROXY": "intern"})
    assert made["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert made["DO_NOT_TRACK"] == "1"
    assert made["HF_HUB_OFFLINE"] == "1"
    assert made["NO_PROXY"] == "intern,127.0.0.1,localhost", "loopback never goes through a proxy"


def test_the_database_may_be_postgresql(tmp_path: Path) -> None:
    base = {"NIGHTLAB_PREFECT_DATABASE_URL": "postgresql+asyncpg://host/prefect"}
    made = service_environment(tmp_path, "http://127.0.0.1:1/api", base=base)
    assert made["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == "postgresql+asyncpg://host/prefect"
    assert "PREFECT_SERVER_DATABASE_CONNECTION_URL" not in service_environment(tmp_path, "", base={})


def test_large_fleets_poll_less() -> None:
    assert poll_s(3) == 1.0
    assert poll_s(33) == 2.0


@pytest.mark.parametrize(
    ("package", "found"),
    [("prefect", "3.9.1"), ("fastapi", "0.165.0"), ("sqlalchemy", "2.1.9"), ("sqlalchemy", "1.4.0")],
)
def test_versions_that_fail_silently_are_refused(package: str, found: str) -> None:
    with pytest.raises(ServiceError, match=rf"needs {package} .*installed is {found}.*make -B"):
        check_versions({package: found})


def test_the_installed_versions_are_good() -> None:
    check_versions()


def test_a_taken_port_is_one_clear_line() -> None:
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"cannot serve Prefect on 127\.0\.0\.1:{port}: Address already in use"):
            bind("127.0.0.1", port)
