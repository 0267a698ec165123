"""A new environment is one folder and one line: examples/touch_spot is installed as a wheel and used like our own.

Nothing of the repository names it. Everything runs in processes of their own that find the wheel on their path.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLE = PROJECT / "examples" / "touch_spot"

TRIAL = """
import asyncio, json, shutil, subprocess, sys
from pathlib import Path
from commands.evaluate import evaluate_policy, summary
from nightlab.cards import template
from nightlab.records import CampaignSpec
from policies.trainer import SandboxedTrainer

room, move, n = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
code, checkpoint = room / f"code-{move}", room / f"checkpoint-{move}"
shutil.copytree(template("touch_spot"), code)
(code / "policy.py").write_text((code / "policy.py").read_text().replace("move_stay", move))
checkpoint.mkdir()
asyncio.run(SandboxedTrainer().train(code, checkpoint, budget_s=60.0))
spec = CampaignSpec(environment="touch_spot", profile="nominal", stations=1, speed=0)
records = asyncio.run(evaluate_policy(spec, code, checkpoint, tuple(range(n)), idea=move, station_seed=0))
print(json.dumps(summary(records, worlds=[record.environment for record in records])))
"""

SNOOP = """
import asyncio, sys
from pathlib import Path
from policies.host import PolicyProcess

async def look(room):
    (room / "policy.py").write_text(
        "import touch_spot_moves\\n"
        "try:\\n    import touch_spot.verify as found\\nexcept ImportError as error:\\n    found = error\\n"
        "def make_policy(checkpoint):\\n    raise RuntimeError(f'moves seen; {found!r}')\\n"
    )
    await PolicyProcess.start(room, room)

try:
    asyncio.run(look(Path(sys.argv[1])))
except Exception as error:
    print(error)
"""

PROPOSE = """
import json, shutil, sys
from pathlib import Path
from agents.literature import Literature
from agents.offline import OfflineResearcher
from data import layouts
from nightlab.cards import card, template
from nightlab.records import ProposalContext

room = Path(sys.argv[1]) / "workspace"
shutil.copytree(template("touch_spot"), room)
goal = card("touch_spot").goal
context = ProposalContext(
    campaign="C1", environment="touch_spot", goal=goal, idea="I1", incumbent="I0", workspace=str(room),
    ideas=(), failure_histogram={"never_moved": 9}, seed=1,
)
made = OfflineResearcher(seed=3).propose_now(context)
passages = Literature.of("touch_spot").search(goal, {"beside": 3}, k=2)
print(json.dumps({"status": made.status, "modules": made.modules, "passages": len(passages),
                  "film": layouts.film_key("touch_spot"), "sentence": layouts.sentence("touch_spot")}))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages that holds the example's wheel, unpacked as an installer does it, and frozen."""
    room = tmp_path_factory.mktemp("outside")
    source, found = room / "source", room / "site"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", "manifest.json"))
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(room)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = room.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(found)
    assert run(found, "-m", "environments.manifest", "freeze", "touch_spot").startswith("touch_spot ")
    return found


def run(site: Path, *arguments: str, status: int = 0) -> str:
    """Output of the project's Python with the example installed; its error output too where `status` is not 0."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stdout + done.stderr


def test_nothing_of_the_repository_names_it() -> None:
    rooms = ("agents", "commands", "data", "environments", "flows", "nightlab", "policies", "robots", "tasks")
    found = [path for room in rooms for path in (PROJECT / room).rglob("*.py") if "touch_spot" in path.read_text()]
    assert found == []


def test_it_is_listed_and_shown_with_its_contract(site: Path) -> None:
    rows = {row["name"]: row for row in json.loads(run(site, "-m", "commands.main", "environment", "list", "--json"))}
    assert rows["touch_spot"]["world"] == "spot_plate"
    assert rows["touch_spot"]["frozen"], rows["touch_spot"]["why_not_frozen"]
    assert rows["push_t"]["frozen"]
    shown = run(site, "-m", "commands.main", "environment", "show", "touch_spot")
    for words in ("move the finger onto the spot", "at most 60 steps (6 s)", "beside:", "move_straight", "spot_plate"):
        assert words in shown


def test_its_own_code_is_frozen_and_nothing_of_other_packages(site: Path) -> None:
    files = json.loads((site / "touch_spot" / "manifest.json").read_text())["files"]
    own = {f"touch_spot/{name}" for name in ("verify.py", "reset.py", "start.py", "limits.py", "environment.yaml")}
    assert own | {"nightlab/contracts.py", "requirements.lock"} <= set(files)
    tops = {name.partition("/")[0] for name in files}
    assert tops == {"touch_spot", "environments", "nightlab", "robots", "requirements.lock"}


def test_it_keeps_the_contract_of_an_environment(site: Path) -> None:
    said = run(site, "-m", "pytest", "-q", "-p", "no:xdist", str(EXAMPLE / "tests"))
    assert " passed" in said
    assert "failed" not in said


def test_trials_run_through_station_sandbox_and_verifier(site: Path, tmp_path: Path) -> None:
    stays = json.loads(run(site, "-c", TRIAL, str(tmp_path), "move_stay", "2"))
    assert (stays["n"], stays["successes"]) == (2, 0)
    assert stays["failures"] == {"never_moved": 2}
    goes = json.loads(run(site, "-c", TRIAL, str(tmp_path), "move_straight", "6"))
    assert (goes["n"], goes["successes"], goes["unscored"]) == (6, 6, 0)
    assert set(goes["worlds"]) == {"touch_spot"}


def test_its_verifier_can_be_measured_against_the_truth(site: Path) -> None:
    command = ("-m", "commands.main", "verifier", "evaluate", "touch_spot", "--n", "40", "--terminal", "0", "--json")
    found = json.loads(run(site, *command))
    assert (found["n"], found["agreement"], found["false_positives_outside_band"], found["unscored"]) == (40, 1.0, 0, 0)
    assert found["near_share"] >= 0.3


@pytest.mark.slow
def test_a_campaign_solves_it(site: Path, tmp_path: Path) -> None:
    command = ("run", "touch_spot", "--budget", "4m", "--target", "0.85", "--held-out", "40", "--json")
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "commands.main", *command, "--profile", "real", "--lab", str(tmp_path / "lab")],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["baseline"]["successes"] <= 2
    assert found["kept"] >= 1
    assert found["held_out"]["successes"] / found["held_out"]["n"] >= 0.8
    assert found["failures"]["ideas"][0]["reasons"]["never_moved"] > 10
    assert found["resets"]["unit"] == "px"
    assert list((tmp_path / "lab" / "rollouts").glob("*/*-video/videos/observation.images.above/**/*.mp4"))


def test_a_policy_sees_its_modules_and_not_its_verifier(site: Path, tmp_path: Path) -> None:
    said = run(site, "-c", SNOOP, str(tmp_path))
    assert "moves seen; ModuleNotFoundError" in said


def test_an_installed_environment_is_hidden_from_the_sandbox(site: Path, tmp_path: Path) -> None:
    """In a virtual environment its package lies beside numpy, which every policy sees."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    (home,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    shutil.copytree(site, home, dirs_exist_ok=True)
    (home / "project.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n{PROJECT}\n")
    script = "from nightlab.sandbox import Sandbox; print(' '.join(Sandbox('bwrap').wrap(['true'])))"
    command = [str(tmp_path / "venv" / "bin" / "python"), "-c", script]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT).stdout
    assert f"--tmpfs {home / 'touch_spot'}" in said


def test_the_offline_researcher_finds_ideas_and_the_recorder_its_columns(site: Path, tmp_path: Path) -> None:
    made = json.loads(run(site, "-c", PROPOSE, str(tmp_path)))
    assert made["status"] == "ok"
    assert made["modules"] != {"sense": "sense_raw", "move": "move_stay"}
    assert made["passages"] == 2
    assert made["film"] == "observation.images.above"
    assert made["sentence"] == "move the finger onto the spot and stay there"


def test_a_lab_starts_from_its_template_on_its_world(site: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from data.lab import Lab, default_config\n"
        "lab = Lab.create(Path(sys.argv[1]), default_config('touch_spot'))\n"
        "print(lab.config.stations[0].world, (lab.research_dir / 'touch_spot' / 'notes.md').read_text())"
    )
    assert run(site, "-c", script, str(tmp_path / "lab")).startswith("spot_plate # Touch the spot")


def test_what_is_not_frozen_is_not_judged_and_the_others_are(site: Path, tmp_path: Path) -> None:
    changed = tmp_path / "site"
    shutil.copytree(site, changed)
    with (changed / "touch_spot" / "verify.py").open("a") as file:
        file.write("\n")
    script = (
        "from environments.verifier_process import VerifierServer\n"
        "server = VerifierServer()\n"
        "print(sorted(server.manifests), sorted(server.refused), server.answer({'call': 'ping'})['manifests'].keys())"
    )
    said = run(changed, "-c", script)
    assert "['touch_spot']" in said
    assert "push_t" in said.partition("]")[0]
    said = run(changed, "-m", "environments.manifest", "check", "touch_spot", status=2)
    assert "touch_spot/verify.py was changed" in said
    rows = json.loads(run(changed, "-m", "commands.main", "environment", "list", "--json"))
    (mine,) = (row for row in rows if row["name"] == "touch_spot")
    assert "touch_spot/verify.py was changed" in mine["why_not_frozen"]


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("name: touch_spot\ntitle: x\n", "is no environment's card: goal: Field required"),
        ("name: [", "is no environment's card"),
        (None, "has no card"),
    ],
)
def test_a_broken_card_is_one_clear_line(site: Path, tmp_path: Path, card: str | None, message: str) -> None:
    broken = tmp_path / "site"
    shutil.copytree(site, broken)
    path = broken / "touch_spot" / "environment.yaml"
    path.unlink() if card is None else path.write_text(card)
    said = run(broken, "-m", "commands.main", "environment", "show", "touch_spot", status=2)
    assert message in said
    assert "docs/new_environment.md" in said
    assert "Traceback" not in said
    assert "push_t" in run(broken, "-m", "commands.main", "environment", "list"), "the others are still there"
