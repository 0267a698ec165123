"""`nightlab verifier freeze`: a person signs a version; from then on only that one judges on this machine.

    nightlab verifier freeze push_t                       sign the code as it is now
    nightlab verifier freeze push_t --from BUILD/best     take over what a researcher built, and sign it
    nightlab verifier freeze push_t --release             take the pin away: trust the checkout again

What it checks first is the held-out labelled set: a verifier that errs there is not signed, unless --force says so.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightlab.errors import UsageError

if TYPE_CHECKING:
    from environments.workbench.scores import Scores

AGREEMENT = 0.99
"""Least agreement outside the guard band of a verifier that may be signed."""


def freeze(
    environment: Annotated[str, typer.Argument(help="Environment, e.g. push_t")],
    source: Annotated[Path | None, typer.Option("--from", help="Folder that `environment build` made")] = None,
    set_name: Annotated[str, typer.Option("--set", help="Labelled set whose held-out half decides")] = "sim",
    note: Annotated[str, typer.Option(help="A line that is signed with it")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Sign although the held-out set is missing or not met")
    ] = False,
    release: Annotated[bool, typer.Option("--release", help="Take this machine's pin away instead")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --from: do not ask before files are replaced")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Sign a version of an environment with the operator's key and pin this machine to it."""
    from environments import package_name, signing

    package_name(environment)
    if release:
        gone = signing.release_pin(environment)
        print(f"{environment} {'is no longer pinned' if gone else 'was not pinned'}; its checkout is trusted as it is")
        return
    signing.public_key()
    wanted = "current" if source is None else str(source)
    scores = _scores(environment, wanted, set_name, force)
    if source is not None:
        _install(environment, source, yes)
    record = sign_current(environment, scores, note)
    where = str(signing.pin_path(environment))
    if as_json:
        print(
            json.dumps(
                {"environment": environment, "sha256": record["sha256"], "pin": where, "scores": record["scores"]}
            )
        )
        return
    print(f"{environment} {record['sha256'][:12]} is signed and frozen on this machine ({where})")
    print(f"commit {_manifest(environment)}, so that others can check the signature with the public key")


def sign_current(environment: str, scores: Scores | None, note: str = "") -> dict[str, Any]:
    """Write, sign, store and pin the manifest of an environment as it is now; returns the manifest."""
    from environments import manifest, signing
    from environments.workbench.versions import keep

    manifest.freeze(environment)
    path = manifest.manifest_path(environment)
    record = json.loads(path.read_text())
    record["scores"] = None if scores is None else scores.model_dump(mode="json")
    record["signed_wall_s"] = time.time()
    record["note"] = note
    signed = signing.sign(record)
    keep(environment, signed)
    path.write_text(json.dumps(signed, indent=2) + "\n")
    signing.write_pin(environment, signed)
    manifest.check(environment)
    return signed


def failing(scores: Scores) -> list[str]:
    """Why a version may not be signed; empty if it may."""
    wrong = []
    if scores.agreement_outside_band < AGREEMENT:
        wrong.append(
            f"agreement outside the guard band {scores.agreement_outside_band:.4f}, at least {AGREEMENT} needed"
        )
    if scores.false_positives_outside_band:
        wrong.append(f"{scores.false_positives_outside_band} false positives outside the guard band, none allowed")
    if scores.broken or scores.unscored:
        wrong.append(f"{scores.broken} episodes without a verdict and {scores.unscored} unscored, none allowed")
    if blind := sorted(name for name, camera in scores.cameras.items() if camera.blinded.get("success")):
        wrong.append(f"SUCCESS with camera {', '.join(blind)} blinded")
    return wrong


def _scores(environment: str, wanted: str, set_name: str, force: bool) -> Scores | None:
    """Scores on the held-out set. Raises UsageError if they, or the set, are missing or not good enough."""
    from commands.verifier import score_version, text
    from environments.workbench.labelled import exists

    if not exists(environment, set_name, "held_out"):
        if force:
            return None
        raise UsageError(
            f"no held-out labelled set {set_name!r} of {environment} to measure it on; make one: nightlab verifier label "
            f"{environment} --set {set_name}   or sign it unmeasured: nightlab verifier freeze {environment} --force"
        )
    if wanted == "current":
        wanted = _now(environment)
    scores, _ = asyncio.run(score_version(environment, wanted, set_name, "held_out"))
    typer.echo(text(scores), err=True)
    reasons = failing(scores)
    if reasons and not force:
        raise UsageError(f"{environment} is not signed: {'; '.join(reasons)}. Mend it, or sign it anyway with --force")
    return scores


def _now(environment: str) -> str:
    """sha256 of the code as it is, whatever its manifest says: a person is about to sign it."""
    from environments import manifest
    from nightlab.manifest import total_hash

    return total_hash(manifest.current(environment))


def _install(environment: str, build: Path, yes: bool) -> None:
    """Replace the environment's files by those of a build; shows the difference and asks."""
    folder = _manifest(environment).parent
    changed: list[tuple[Path, Path]] = []
    for path in sorted(build.glob("*.py")):
        home = folder / path.name
        if not home.is_file() or path.is_symlink():
            raise UsageError(f"{path} is no file of {environment}; a build holds: reset.py, verify.py, …")
        before, after = home.read_text().splitlines(), path.read_text().splitlines()
        if before != after:
            changed.append((path, home))
            for line in difflib.unified_diff(before, after, f"{home.name} now", f"{path.name} built", lineterm=""):
                typer.echo(line, err=True)
    if changed and not yes:
        typer.confirm(f"Replace {', '.join(home.name for _, home in changed)} of {environment}?", abort=True, err=True)
    for path, home in changed:
        shutil.copyfile(path, home)


def _manifest(environment: str) -> Path:
    from environments.manifest import manifest_path

    return manifest_path(environment)
