import json
import socket

import pytest

from commands import ports
from data.lab import Lab
from nightlab.errors import LabError


def test_a_port_is_kept_while_it_is_free(lab: Lab) -> None:
    first = ports.choose(lab, {"prefect": 0, "robot-1": 0})
    assert first["prefect"] != first["robot-1"]
    assert ports.choose(lab, {"prefect": 0, "robot-1": 0}) == first, "addresses survive a restart"
    with socket.create_server(("127.0.0.1", first["prefect"])):
        second = ports.choose(lab, {"prefect": 0, "robot-1": 0})
    assert second["prefect"] != first["prefect"], "a port that another process took is given up"
    assert second["robot-1"] == first["robot-1"]
    assert json.loads((lab.run_dir / "ports.json").read_text()) == second


def test_a_declared_port_that_is_taken_is_one_clear_line(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(LabError) as caught:
            ports.choose(lab, {"prefect": port})
    assert f"port {port} of prefect is taken by another process" in str(caught.value)
    assert "lab.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
