"""Cases of an examination, kept on disk: a verifier is measured again without simulating them again.

    <operator's directory>/exams/<environment>/<key>/made.json, 00000.case, 00001.case, …

The key is the sha256 of the code that makes the cases (environment, world, skills; for the ends of episodes the good policy
as well) together with profile and seeds, so other code never meets cases that it would not have made. A folder that is not
full is filled up by the next run. No sandbox mounts the operator's directory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

from environments import package_name, signing, world
from environments.exam import Case
from environments.exam_tally import Known
from environments.manifest import LOCK_FILE, PROJECT
from environments.workbench.staging import store
from nightlab import manifest as files
from nightlab.contracts import StoredEvidence
from nightlab.errors import UsageError

MADE: Final = "made.json"
SUFFIX: Final = ".case"
DRAWS_NOTHING: Final = (
    "nightlab/__init__.py", "nightlab/cards.py", "nightlab/contracts.py", "nightlab/errors.py", "nightlab/records/",
    "environments/__init__.py", "environments/evidence.py", "environments/frames.py",
)  # fmt: skip
"""Types and formats that the code imports: no picture and no label comes out otherwise when they change."""


@dataclass(frozen=True, slots=True)
class KeptCase:
    """One case as it is kept: pictures as PNG, ready to be sent to a verifier."""

    environment: str
    stored: StoredEvidence
    faults: tuple[str, ...]
    start: dict[str, float]
    known: Known


class KeptCases:
    """A folder of cases of one part of an examination."""

    def __init__(self, folder: Path, part: str) -> None:
        self.folder, self.part = folder, part

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob(f"*{SUFFIX}"))

    @property
    def changed(self) -> list[str]:
        """Files of the code that made these cases which are not the same any more, by path in the project."""
        made = json.loads((self.folder / MADE).read_text())["files"]
        return sorted(name for name, sha256 in made.items() if not _is(PROJECT / name, sha256))

    def missing(self, n: int) -> list[int]:
        """Numbers below `n` that are not there yet."""
        return [number for number in range(n) if not self._path(number).exists()]

    def save(self, number: int, case: Case) -> None:
        """Write a case; it appears whole or not at all."""
        path = self._path(number)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(pack(case))
        os.replace(partial, path)

    def load(self, number: int) -> KeptCase:
        """A case. Raises UsageError if it is not there or broken."""
        try:
            return unpack(self._path(number).read_bytes(), self.part)
        except (OSError, ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
            raise UsageError(
                f"no case {number} in {self.folder} ({type(error).__name__}: {error}); make them anew: rm -r {self.folder}"
            ) from error

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}{SUFFIX}"


def open_cases(
    environment: str, part: str, profile: str, *, modules: Iterable[str] = (), also: Iterable[str] = (), **named: int
) -> KeptCases:
    """The folder of a part under the operator's directory, made if it is missing.

    Args:
        environment: whose cases.
        part: `balanced` or `terminal`.
        profile: nominal, real, hard, or a YAML file.
        modules: further modules that the cases come from, with all that they import, e.g. the good policy's.
        also: further files that they come from, by path in the project.
        named: the numbers that the cases depend on, e.g. seed.
    """
    hashes = code_hashes(environment, modules, also)
    own = Path(profile)
    text = own.read_text() if own.suffix in (".yaml", ".yml") and own.is_file() else profile
    what = {"environment": environment, "part": part, "profile": text, **named, "code": files.total_hash(hashes)}
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
    folder = signing.private_folder("exams", environment, f"{part}-{key}")
    if not (folder / MADE).exists():
        (folder / MADE).write_text(json.dumps({**what, "files": hashes}, indent=1) + "\n")
    return KeptCases(folder, part)


def cases_at(environment: str, folder: Path) -> KeptCases:
    """Cases that were made before, whether or not the code is still the same; `changed` tells.

    Raises UsageError if there are none of this environment in the folder.
    """
    try:
        made = json.loads((folder / MADE).read_text())
        if made["environment"] == environment:
            return KeptCases(folder, str(made["part"]))
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{folder} holds no kept cases ({type(error).__name__}: {error}); those there are: "
            f"ls {signing.operator_dir() / 'exams' / environment}"
        ) from error
    raise UsageError(f"{folder} holds cases of {made['environment']}, not of {environment}")


def code_hashes(environment: str, modules: Iterable[str] = (), also: Iterable[str] = ()) -> files.Hashes:
    """sha256 of each file that a case comes from."""
    package, physics = package_name(environment), f"robots.worlds.{world(environment)}"
    named = [package, f"{package}.exam", f"{package}.truth", "environments.exam", "robots.profiles", *modules]
    if PROJECT.joinpath("robots", "worlds", f"{world(environment)}.py").is_file():
        named.append(physics)
    found = files.import_closure(_roots(package), named)
    beside = [
        LOCK_FILE,
        *also,
        *(path.relative_to(PROJECT).as_posix() for path in PROJECT.glob("robots/profiles/**/*.yaml")),
    ]
    found |= {name: PROJECT / name for name in beside if (PROJECT / name).is_file()}
    return files.hash_files({name: path for name, path in found.items() if not name.startswith(DRAWS_NOTHING)})


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _roots(package: str) -> list[Path]:
    """Where the environment's package lies, and this project."""
    import importlib.util

    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UsageError(f"the package {package} is gone")
    return list(dict.fromkeys((Path(spec.origin).parents[package.count(".") + 1], PROJECT)))


def pack(case: Case) -> bytes:
    """A case as msgpack; equal pictures are kept once."""
    stored = store(case.evidence)
    pngs: dict[bytes, int] = {}
    body = {
        "environment": case.evidence.environment,
        "frames": [pngs.setdefault(png, len(pngs)) for png in stored.frames_png],
        "depths": [pngs.setdefault(png, len(pngs)) for png in stored.depths_png],
        "cameras": list(stored.cameras),
        "seqs": [int(seq) for seq in stored.seqs],
        "observations": [_plain(row) for row in stored.observations],
        "measures": dict(stored.measures),
        "start": dict(case.evidence.start),
        "faults": list(case.evidence.faults),
        "success": case.success,
        "value": case.value,
    }
    packed: bytes = msgpack.packb({**body, "pngs": list(pngs)})
    return packed


def unpack(data: bytes, part: str) -> KeptCase:
    """What `pack` wrote."""
    body = msgpack.unpackb(data)
    stored = StoredEvidence(
        frames_png=[body["pngs"][number] for number in body["frames"]],
        observations=[{key: np.array(value, np.float64) for key, value in row.items()} for row in body["observations"]],
        cameras=body["cameras"],
        seqs=body["seqs"],
        depths_png=[body["pngs"][number] for number in body["depths"]],
        measures=body["measures"],
    )
    known = Known(bool(body["success"]), float(body["value"]), part)
    return KeptCase(str(body["environment"]), stored, tuple(body["faults"]), dict(body["start"]), known)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: np.asarray(value).tolist() for key, value in row.items()}
