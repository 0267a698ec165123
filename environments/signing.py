"""The operator's ed25519 key, signed manifests, and which manifests this machine trusts.

The key lies outside every lab and outside the project: `NIGHTLAB_OPERATOR_KEY`, or `~/.config/nightlab/operator.key`
(mode 0600). Its folder, the operator's directory (mode 0700), also holds what no researcher may read or change: held-out
labelled sets, frozen versions, and one pin per environment that the operator has frozen.

Trust:

1. Hashes: the code is that of the manifest beside it (environments/manifest.py). Always.
2. A signature that a manifest carries must be a good one. Always; but a good signature by an unknown key proves nothing.
3. An environment that the operator has frozen here is pinned: its manifest must be the pinned one, signed by the
   operator's key. Neither an unsigned manifest nor an older signed one will do.
4. An environment without a pin is trusted as the checkout or package that it came with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightlab.errors import TamperError, UsageError

KEY_VARIABLE = "NIGHTLAB_OPERATOR_KEY"
SIGNED = ("schema_version", "subject", "sha256", "files", "scores", "signed_wall_s", "note")
"""Fields of a manifest that the signature covers, where it has them."""


def key_path() -> Path:
    """Where the operator's private key lies, or would lie."""
    named = os.environ.get(KEY_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "nightlab" / "operator.key"


def operator_dir() -> Path:
    """The operator's directory."""
    return key_path().parent


def public_path() -> Path:
    """The public half of the key, as hex; processes that only check never open the private one."""
    return key_path().with_suffix(".pub")


def pin_path(name: str) -> Path:
    """The signed manifest that an environment is pinned to."""
    return operator_dir() / "pins" / f"{name}.json"


def create_key() -> str:
    """Make the operator's key; returns its public half as hex.

    Raises:
        UsageError: there is one already, or the place lies inside a lab or this project.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = key_path()
    if path.exists():
        raise UsageError(f"there is a key at {path}; show its public half with: nightlab verifier key --show")
    _outside(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()
    public_path().write_text(public + "\n")
    return public


def public_key() -> str:
    """The operator's public key as hex. Raises UsageError if there is no key."""
    try:
        return public_path().read_text().strip()
    except OSError as error:
        raise UsageError(f"no operator's key at {key_path()}; make one with: nightlab verifier key") from error


def sign(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with the operator's signature. Raises UsageError without a key or with one that others can read."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = key_path()
    public = public_key()
    if path.stat().st_mode & 0o077:
        raise UsageError(f"the key {path} can be read by others; mend it with: chmod 600 {path}")
    key = load_pem_private_key(path.read_bytes(), password=None)
    signature = key.sign(_message(manifest))  # type: ignore[union-attr, call-arg]
    return {**manifest, "signature": {"algorithm": "ed25519", "public_key": public, "value": signature.hex()}}


def signer(manifest: Mapping[str, Any]) -> str:
    """Public key (hex) that a manifest is signed with; empty for an unsigned one.

    Raises:
        TamperError: it carries a signature that does not fit.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if "signature" not in manifest:
        return ""
    try:
        public = str(manifest["signature"]["public_key"])
        value = bytes.fromhex(manifest["signature"]["value"])
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(value, _message(manifest))
    except (InvalidSignature, KeyError, ValueError, TypeError) as error:
        raise TamperError(
            f"the signature of the manifest of {manifest.get('subject')} does not fit it: it was changed after it was "
            f"signed. Restore it from git, or sign it anew: nightlab verifier freeze {manifest.get('subject')}"
        ) from error
    return public


def check_trust(name: str, manifest: Mapping[str, Any]) -> None:
    """Apply rules 2 to 4 to a manifest whose hashes have been checked. Raises TamperError."""
    key = signer(manifest)
    pin = pin_path(name)
    try:
        pinned = json.loads(pin.read_text())
    except FileNotFoundError:
        return
    except PermissionError as error:
        raise TamperError(f"the pin {pin} of {name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TamperError(f"the pin {pin} of {name} is no manifest: {error}") from error
    operator = public_key()
    fix = f"nightlab verifier freeze {name} (accept the code as it is) or nightlab verifier freeze {name} --release"
    if signer(pinned) != operator:
        raise TamperError(f"the pin {pin} of {name} is not signed with the operator's key; mend it with: {fix}")
    if manifest.get("sha256") != pinned["sha256"]:
        raise TamperError(
            f"{name} is frozen on this machine at {pinned['sha256'][:12]}, the code here is "
            f"{str(manifest.get('sha256'))[:12]}; return to the frozen one, or: {fix}"
        )
    if key != operator:
        raise TamperError(
            f"{name} is frozen on this machine, but its manifest is {'signed by another' if key else 'not signed'}; {fix}"
        )


def write_pin(name: str, manifest: Mapping[str, Any]) -> None:
    """Pin an environment to a signed manifest."""
    path = pin_path(name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(json.dumps(manifest, indent=2) + "\n")
    partial.replace(path)


def release_pin(name: str) -> bool:
    """Take an environment's pin away; False if it has none."""
    path = pin_path(name)
    if not path.exists():
        return False
    path.unlink()
    return True


def private_folder(*parts: str) -> Path:
    """A folder of the operator's directory, made with mode 0700."""
    folder = operator_dir()
    _outside(folder / "x")
    for part in ("", *parts):
        folder = folder / part
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    operator_dir().chmod(0o700)
    return folder


def _message(manifest: Mapping[str, Any]) -> bytes:
    body = {field: manifest[field] for field in SIGNED if field in manifest}
    return b"nightlab manifest\n" + json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _outside(path: Path) -> None:
    """Raise UsageError if `path` lies in a lab or in this project."""
    project = Path(__file__).resolve().parents[1]
    for folder in path.resolve().parents:
        if folder == project or (folder / "lab.yaml").exists():
            raise UsageError(
                f"{path} lies inside {folder}, where researchers work; name a place outside of every lab: "
                f"{KEY_VARIABLE}=FILE"
            )
