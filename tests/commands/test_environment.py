import asyncio
import socket
from pathlib import Path

import pytest

from commands.environment import service_environment
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


def test_an_answer_in_two_packets_does_not_wait_for_the_clients_acknowledgement() -> None:
    """Without TCP_NODELAY each request took 40 ms longer: what Linux delays an acknowledgement by."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[int] = loop.create_future()

        def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with bind("127.0.0.1", 0) as listener:
            server = await asyncio.start_server(connected, sock=listener)
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            found = await asyncio.wait_for(accepted, 10)
            server.close()
        return found

    assert asyncio.run(main()), "small packets wait"
