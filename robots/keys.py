"""A small certificate authority for the stations of one laboratory: `nightlab station keys DIR`.

    DIR/ca/       ca.pem, ca.key         stays with the operator
    DIR/server/   ca.pem, server.pem, server.key, tokens.yaml     goes to the station's workstation
    DIR/NAME/     ca.pem, client.pem, client.key, token           goes to a holder's lab, or stays with the operator

Run again it adds holders and hosts and leaves what there is. ECDSA P-256; a holder's certificate and token bear its name.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nightlab.errors import UsageError
from robots.tokens import Role, TokenEntry, TokensFile, digest, new_token

VALID_days: Final = 3650
OPERATOR: Final = "operator"
RESERVED: Final = ("ca", "server")


def make_keys(folder: Path, hosts: Sequence[str], holders: Sequence[str]) -> list[Path]:
    """Make what is missing; returns the folders made or renewed.

    Args:
        folder: where; outside every lab, since a lab is a git repository that others see.
        hosts: names and addresses under which clients reach the station; a change makes a new server certificate.
        holders: who may lease the station; the operator is always one more.

    Raises:
        UsageError: the folder lies in a lab or a git repository, or a holder's name cannot be a folder.
    """
    folder = folder.expanduser().absolute()
    for parent in (folder, *folder.parents):
        if (parent / "lab.yaml").exists() or (parent / ".git").exists():
            raise UsageError(f"keys in {folder} would lie in {parent}, which others see; choose a folder outside it")
    for name in holders:
        if name in RESERVED or not name.replace("-", "").replace("_", "").isalnum():
            raise UsageError(f"holder {name!r}: letters, digits, - and _; not {' or '.join(RESERVED)}")
    made: list[Path] = []
    authority = _authority(folder / "ca", made)
    _server(folder / "server", authority, [*hosts], made)
    entries: dict[str, TokenEntry] = {}
    tokens = folder / "server" / "tokens.yaml"
    if tokens.exists():
        entries = {
            entry.holder: entry for entry in TokensFile.model_validate(yaml.safe_load(tokens.read_text())).tokens
        }
    for name in (OPERATOR, *holders):
        if not (folder / name / "token").exists() or name not in entries:
            role = Role.OPERATOR if name == OPERATOR else Role.HOLDER
            entries[name] = TokenEntry(holder=name, role=role, sha256=_client(folder / name, authority, name))
            made.append(folder / name)
    listed = [entry.model_dump(mode="json", exclude={"schema_version"}) for entry in entries.values()]
    _write(tokens, yaml.safe_dump({"tokens": listed}, sort_keys=False).encode())
    return made


type _Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _authority(folder: Path, made: list[Path]) -> _Authority:
    if (folder / "ca.pem").exists():
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nightlab stations")])
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    _store(folder, "ca", certificate, key)
    made.append(folder)
    return certificate, key


def _server(folder: Path, authority: _Authority, hosts: list[str], made: list[Path]) -> None:
    names = list(dict.fromkeys([*hosts, "localhost", "127.0.0.1", "::1"]))
    if (folder / "server.pem").exists():
        old = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
        known = [str(name.value) for name in old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]
        if set(names) <= set(known):
            return
        names = list(dict.fromkeys([*names, *known]))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nightlab station")])
    certificate = (
        _builder(subject, authority[0].subject, key)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority[1], hashes.SHA256())
    )
    _store(folder, "server", certificate, key)
    _write(folder / "ca.pem", authority[0].public_bytes(serialization.Encoding.PEM))
    made.append(folder)


def _client(folder: Path, authority: _Authority, name: str) -> str:
    """Certificate, key and token of a holder; returns the token's digest."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(subject, authority[0].subject, key)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(authority[1], hashes.SHA256())
    )
    _store(folder, "client", certificate, key)
    _write(folder / "ca.pem", authority[0].public_bytes(serialization.Encoding.PEM))
    token = new_token()
    _write(folder / "token", token.encode())
    return digest(token)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_days))
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _store(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    _write(folder / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(folder / f"{name}.key", pem)


def _write(path: Path, data: bytes) -> None:
    """Whole, and readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(path.name + ".part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    partial.replace(path)
