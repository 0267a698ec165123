import subprocess
import sys
from pathlib import Path

import pytest

from commands.main import COMMANDS, app, build
from data.lab import Lab
from nightlab.errors import NightlabError

PROJECT = Path(__file__).parents[2]


def call(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        app(words)
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def test_help_lists_every_verb_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("--help", capsys=capsys)
    assert code == 0
    assert [
        line.split()[0] for line in out.splitlines() if line.startswith("  ") and line.split()[0] in COMMANDS
    ] == list(COMMANDS)
    script = (
        "import sys; sys.argv[1:] = ['--help']\nfrom commands.main import app\n"
        "try:\n app()\nexcept SystemExit: pass\n"
        "print([name for name in ('prefect', 'torch', 'pydantic', 'grpc', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", "--help imports nothing heavy, so it answers at once"


@pytest.mark.parametrize(
    "verb", [verb for verb in COMMANDS if verb not in ("evaluate", "reset-check", "simulate-fleet")]
)
def test_every_verb_is_there_and_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(verb, "--help", capsys=capsys)
    assert code == 0
    assert "--lab" in out, "every verb names the lab it works on; reset-check works on stations of its own"


def test_an_unknown_verb_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call("bogus", capsys=capsys)
    assert code == 2
    assert "No such command 'bogus'" in err


def test_an_error_of_the_user_is_a_message_and_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call("status", "--lab", str(tmp_path / "none"), capsys=capsys)
    assert code == 2
    assert err.startswith("nightlab: no lab at ")
    assert "nightlab up --lab" in err, "the message ends with the command that mends it"
    assert len(err.strip().splitlines()) == 1


def test_build_loads_only_what_was_asked_for() -> None:
    assert build(None).registered_commands[0].callback is not build("run").registered_commands[0].callback


def test_status_of_a_lab_that_is_down(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("status", "--lab", str(lab.path), capsys=capsys)
    assert code == 0
    assert "is down" in out
    assert "no campaign yet; start one with: nightlab run push_t" in " ".join(out.split())
    code, out, _ = call("status", "--json", "--lab", str(lab.path), capsys=capsys)
    assert '"phase": "down"' in out


def test_down_of_a_lab_that_is_not_up(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("down", "--lab", str(lab.path), capsys=capsys)
    assert code == 0
    assert "was not up" in out


def test_estop_without_stations_says_so(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call("estop", "--lab", str(lab.path), capsys=capsys)
    assert code == 2
    assert "no station of" in err
    assert "nightlab estop --address HOST:PORT" in err


def test_a_corrupt_lab_is_one_clear_line(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.config_path.write_text("stations: [")
    code, _, err = call("up", "--lab", str(lab.path), capsys=capsys)
    assert code == 2
    assert "lab.yaml" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("up", "--environment", "nonesuch"), "unknown environment 'nonesuch'; there are: "),
        (("up", "--stations", "0"), "at least one station; asked were 0"),
        (("up", "--profile", "nonesuch"), "nonesuch"),
    ],
)
def test_up_refuses_what_it_cannot_make(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(*words, "--lab", str(tmp_path / "new"), capsys=capsys)
    assert code == 2
    assert message in err
    assert not (tmp_path / "new").exists(), "a request that is refused makes nothing"


def test_doctor_says_what_is_wrong_and_how_to_mend_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from commands.doctor import library

    check = library("nightlab_has_no_such_library", "make")
    assert (check.level, check.fix) == ("bad", "make")
    assert "No module named 'nightlab_has_no_such_library'" in check.found
    code, out, _ = call("doctor", "--quick", "--lab", str(tmp_path / "none"), capsys=capsys)
    assert code == 0, out
    assert out.splitlines()[-1] == "all is well"
    for name in ("python", "git", "versions", "sandbox", "ports", "disk", "lab"):
        assert f" {name} " in out


def test_errors_are_nightlabs_own() -> None:
    assert issubclass(NightlabError, Exception)
