"""A lab: one directory, git and DVC repository, that holds everything campaigns learned. Paths, creation, opening."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from data.lab_git import LabGit
from data.ledger import SqliteLedger, corrupt
from nightlab import cards
from nightlab.errors import LabError, UsageError
from nightlab.records import EpisodeKey, LabConfig, StationConfig

EDITABLE = ("policy.py", "train.py", "params.yaml", "notes.md")
"""What researchers edit."""
SOCKET_PATH_MAX = 100
"""Unix socket paths are limited to 107 bytes; a deeper lab puts its sockets into a private temporary folder."""

GITIGNORE = """\
/ledger.db*
/prefect/
/reports/
/run/
/spool/
/worktrees/
"""
DVC_FILES = {
    "rollouts/.gitignore": "*/\n",  # not `/rollouts/*/` one level up: DVC then takes `rollouts` itself for ignored
    "checkpoints/.gitignore": "*/\n",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    ".dvc/config": (
        "[core]\n    analytics = false\n    autostage = false\n    check_update = false\n"
        '[cache]\n    type = "hardlink,copy"\n'
    ),
    ".dvcignore": "# What DVC should not look at: https://dvc.org/doc/user-guide/dvcignore\n",
}
"""What `dvc init` writes, with our settings. Hard links: a lab holds every byte once, read-only."""


@dataclass(frozen=True, slots=True)
class Lab:
    """The paths of a lab. Make one with `create`, `open` or `open_or_create`."""

    path: Path

    @property
    def config_path(self) -> Path:
        return self.path / "lab.yaml"

    @property
    def ledger_path(self) -> Path:
        return self.path / "ledger.db"

    @property
    def research_dir(self) -> Path:
        return self.path / "research"

    @property
    def records_dir(self) -> Path:
        return self.path / "records"

    @property
    def rollouts_dir(self) -> Path:
        return self.path / "rollouts"

    @property
    def checkpoints_dir(self) -> Path:
        return self.path / "checkpoints"

    @property
    def spool_dir(self) -> Path:
        """Episodes that are durable but not yet in a shard."""
        return self.path / "spool"

    @property
    def worktrees_dir(self) -> Path:
        return self.path / "worktrees"

    @property
    def prefect_dir(self) -> Path:
        return self.path / "prefect"

    @property
    def reports_dir(self) -> Path:
        return self.path / "reports"

    @property
    def run_dir(self) -> Path:
        """Pids, ports, sockets, tokens, keys; mode 0700."""
        return self.path / "run"

    @property
    def state_path(self) -> Path:
        """What the supervisor says about its processes."""
        return self.run_dir / "state.json"

    @property
    def key_path(self) -> Path:
        """The secret that all seeds derive from."""
        return self.run_dir / "campaign.key"

    def operator_token(self) -> Path:
        """The file with the token that clears an e-stop of this lab's own stations; made where it is missing."""
        path = self.run_dir / "operator.token"
        if not path.exists():
            self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    file.write(secrets.token_hex(32))
        return path

    @property
    def keeper_socket(self) -> Path:
        return self.socket("keeper.sock")

    @property
    def verifier_socket(self) -> Path:
        return self.socket("verifier.sock")

    def socket(self, name: str) -> Path:
        """Where the Unix socket `name` lies: in `run/`, or for a deep lab in a private temporary folder."""
        path = self.run_dir / name
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX:
            return path
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"nightlab-{os.getuid()}-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid != os.getuid() or folder.lstat().st_mode & 0o077:
            raise LabError(f"{folder} does not belong to this user alone; remove it, or use a lab with a shorter path")
        return folder / name

    def judged_dirs(self, key: EpisodeKey) -> list[Path]:
        """Folders that may hold the judged frames of an episode."""
        places = self.rollouts_dir / key.iteration
        return [place / "judged" / key.text() for place in sorted(places.glob(f"{key.station}*"))]

    @property
    def config(self) -> LabConfig:
        """What `lab.yaml` says now.

        Raises:
            LabError: it is missing, no YAML, or has unknown or wrong fields.
        """
        return read_config(self.config_path)

    def write_config(self, config: LabConfig) -> None:
        """Replace `lab.yaml`; the keeper commits it when it starts or at the next flush."""
        partial = self.config_path.with_name(".lab.yaml.part")
        partial.write_text(_yaml(config))
        partial.replace(self.config_path)

    @staticmethod
    def exists(path: Path) -> bool:
        """True if something lies at `path` that is, or ought to be, a lab."""
        return path.is_dir() and any(path.iterdir())

    @classmethod
    def create(cls, path: Path, config: LabConfig | None = None, *, template: Path | None = None) -> Lab:
        """Make a lab: folders, lab.yaml, git and DVC repository, first commit with the workspace template.

        Args:
            path: the directory; may exist, but not hold a lab or other files.
            config: its stations; default two nominal Push-T stations.
            template: folder with the researcher's files; default: the environment's own.

        Raises:
            UsageError: the directory is in use, or there is no template for the environment.
        """
        path = path.resolve()
        if cls.exists(path) or path.is_file():
            raise UsageError(f"{path} is not empty. Open it as a lab with: nightlab up --lab {path}   or name another")
        config = config or default_config()
        source = template or cards.template(config.environment)
        files = {f"research/{config.environment}/{name}": source / name for name in EDITABLE}
        missing = [name for name, file in files.items() if not file.is_file()]
        if missing:
            raise UsageError(
                f"the workspace template {source} of {config.environment} lacks {', '.join(Path(name).name for name in missing)}; "
                f"researchers start from {', '.join(EDITABLE)}. See docs/new_environment.md"
            )
        path.mkdir(parents=True, exist_ok=True)
        partial = path / ".creating"
        partial.touch()
        lab = cls(path)
        lab.make_folders()
        texts = {".gitignore": GITIGNORE, **DVC_FILES, "lab.yaml": _yaml(config)}
        for name, text in texts.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text)
        for name, file in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, path / name)
        partial.unlink()
        SqliteLedger(lab.ledger_path).close()
        LabGit(path).init([*texts, *files], f"A lab for {config.environment}: settings and the workspace template")
        return lab

    @classmethod
    def open(cls, path: Path) -> Lab:
        """Open an existing lab.

        Raises:
            LabError: it is missing or broken; the message says what is broken and what to do.
        """
        path = path.resolve()
        if not path.is_dir():
            raise LabError(f"no lab at {path}. Create it with: nightlab up --lab {path}")
        lab = cls(path)
        for name in ("lab.yaml", ".git", ".dvc/config"):
            if not (path / name).exists():
                raise LabError(
                    f"{path} is not a whole lab: {name} is missing. Restore it from a copy, or start a new lab: "
                    f"nightlab up --lab NEWDIR"
                )
        _ = lab.config
        LabGit(path).check()
        _check_ledger(lab.ledger_path)
        lab.make_folders()
        return lab

    @classmethod
    def open_or_create(cls, path: Path, config: LabConfig | None = None) -> Lab:
        """Open the lab at `path`, or create it where there is nothing."""
        if cls.exists(path):
            return cls.open(path)
        return cls.create(path, config)

    def make_folders(self) -> None:
        """Make the folders that git does not track."""
        for folder in (
            self.records_dir, self.rollouts_dir, self.checkpoints_dir, self.spool_dir, self.spool_dir / "torn",
            self.worktrees_dir, self.worktrees_dir / "code", self.prefect_dir, self.reports_dir,
        ):  # fmt: skip
            folder.mkdir(parents=True, exist_ok=True)
        self.run_dir.mkdir(mode=0o700, exist_ok=True)
        self.run_dir.chmod(0o700)


def default_config(
    environment: str = "push_t",
    stations: int = 2,
    profile: str = "nominal",
    speed: float = 10.0,
    *,
    world: str = "",
) -> LabConfig:
    """Simulated stations robot-1 … robot-N, each with its own station seed; `world`: the environment's own if empty."""
    if stations < 1:
        raise UsageError(f"a lab needs at least one station; asked were {stations}. Try: --stations 2")
    world = world or cards.card(environment).world
    return LabConfig(
        environment=environment,
        stations=tuple(
            StationConfig(station=f"robot-{n}", world=world, profile=profile, speed=speed, station_seed=n)
            for n in range(1, stations + 1)
        ),
    )


def read_config(path: Path) -> LabConfig:
    """Read and check a `lab.yaml`."""
    try:
        return LabConfig.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise LabError(f"cannot read {path}: {error.strerror}. Create a lab with: nightlab up --lab DIR") from error
    except ValidationError as error:
        why = "; ".join(f"{'.'.join(map(str, found['loc'])) or 'file'}: {found['msg']}" for found in error.errors())
        raise _wrong(path, why) from error
    except yaml.YAMLError as error:
        raise _wrong(path, " ".join(str(error).split())) from error


def _wrong(path: Path, why: str) -> LabError:
    return LabError(f"{path} is not a valid lab.yaml: {why}. Mend it, or: git -C {path.parent} restore lab.yaml")


def _yaml(config: LabConfig) -> str:
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    return f"# The lab's stations and processes; see LabConfig in nightlab/records/campaign.py\n{text}"


def _check_ledger(path: Path) -> None:
    """A cheap look at the ledger: is it a database at all? The keeper checks it thoroughly when it opens it."""
    if not path.exists():
        return
    try:
        connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=10.0)
        try:
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise corrupt(path, str(error)) from error
