"""`station.yaml`: what it may say, and what its errors say."""

from pathlib import Path

import pytest

from nightlab.errors import UsageError
from nightlab.records import CellConfig, JointLimits
from robots.cell_config import read_cell
from robots.drivers import make_driver


def written(folder: Path, text: str) -> Path:
    path = folder / "station.yaml"
    path.write_text(text)
    return path


def test_the_smallest_file_makes_a_simulated_station(tmp_path: Path) -> None:
    cell = read_cell(written(tmp_path, "station: robot-1\ndriver: simulated\nenv: {A: 1}\n"))
    assert cell.loopback, "by default nobody else reaches it"
    assert cell.env == {"A": "1"}, "environment variables are text"
    assert make_driver(cell).spec().station_id == "robot-1"
    assert cell.path(Path("keys/ca.pem")) == tmp_path / "keys/ca.pem", "paths start at the file"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("station: robot-1\ndriver: simulated\nrate: 5\n", "rate: Extra inputs"),
        ("driver: simulated\n", "station: Field required"),
        ("[1, 2]\n", "must be a mapping"),
        ("station: {a\n", "no YAML"),
        ("station: r\ndriver: simulated\naddress: 0.0.0.0:5000\n", "tls and tokens.*nightlab station keys"),
        ("station: r\ndriver: simulated\naddress: '[::]:5000'\ntokens: t.yaml\n", "without tls\\."),
        (
            "station: r\ndriver: simulated\nlimits: {joints: {q: {hard_low: [0], soft_low: [1], soft_high: [3], hard_high: [2]}}}\n",
            "soft_high <= hard_high does not hold",
        ),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        read_cell(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_no_file_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"docs/stations\.md"):
        read_cell(tmp_path / "none.yaml")


def test_unknown_drivers_and_settings_are_named() -> None:
    with pytest.raises(UsageError, match=r"unknown driver 'hal9000'; there are: .*simulated"):
        make_driver(CellConfig(station="r", driver="hal9000"))
    with pytest.raises(UsageError, match="camera driver 'eye'"):
        make_driver(CellConfig(station="r", driver="simulated", cameras={"top": {"driver": "eye"}}))  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="wrld: Extra inputs"):
        make_driver(CellConfig(station="r", driver="simulated", config={"wrld": "push_t"}))


def test_joint_limits_must_have_one_number_per_joint() -> None:
    with pytest.raises(ValueError, match="max_velocity has 1 numbers, hard_low has 2"):
        JointLimits(hard_low=(0, 0), hard_high=(1, 1), soft_low=(0, 0), soft_high=(1, 1), max_velocity=(1,))
