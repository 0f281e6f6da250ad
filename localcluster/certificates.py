"""The certificates of a cluster, signed by an authority of its own with the `openssl` command."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import LocalClusterError

DAYS = "3650"


@dataclass(frozen=True)
class Certificate:
    """A certificate to issue.

    Attributes:
        file: The name of its files, without `.crt` and `.key`.
        subject: Its common name, which is the user's name to the API server.
        group: Its organization, which is the user's group, or "".
        names: DNS names and addresses as openssl writes them: `DNS:localhost`, `IP:127.0.0.1`.
    """

    file: str
    subject: str
    group: str = ""
    names: tuple[str, ...] = ()


def issue(folder: Path, certificates: Sequence[Certificate]) -> None:
    """Write the authority, the key pair for service accounts' tokens and each certificate, where not there yet."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _issue_authority(folder)
    service_account = folder / "service-account.key"
    if not service_account.exists():
        draft = service_account.with_suffix(".draft")
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(draft))
        draft.replace(service_account)
    for certificate in certificates:
        if not (folder / f"{certificate.file}.crt").exists():
            _issue(folder, certificate)


def render_request(certificate: Certificate) -> str:
    """Return openssl's configuration for a certificate that can serve and can log in."""
    names = f"subjectAltName = {','.join(certificate.names)}\n" if certificate.names else ""
    organization = f"O = {certificate.group}\n" if certificate.group else ""
    return (
        "[req]\nprompt = no\ndistinguished_name = subject\nx509_extensions = extensions\n"
        f"[subject]\nCN = {certificate.subject}\n{organization}"
        "[extensions]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n"
        f"extendedKeyUsage = serverAuth,clientAuth\n{names}"
    )


def _issue_authority(folder: Path) -> None:
    if (folder / "ca.crt").exists():
        return
    request = folder / "ca.conf"
    request.write_text(
        "[req]\nprompt = no\ndistinguished_name = subject\nx509_extensions = extensions\n"
        "[subject]\nCN = rondo-localcluster\n"
        "[extensions]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\n"
        "subjectKeyIdentifier = hash\n",
    )
    _request(folder, "ca")


def _issue(folder: Path, certificate: Certificate) -> None:
    (folder / f"{certificate.file}.conf").write_text(render_request(certificate))
    _request(folder, certificate.file, "-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key"))


def _request(folder: Path, file: str, *signer: str) -> None:
    """Make key and certificate; the certificate gets its name last, so that its presence means both are whole."""
    draft = folder / f"{file}.draft"
    _openssl(
        *("req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"),
        *("-days", DAYS, "-config", str(folder / f"{file}.conf"), *signer),
        *("-keyout", str(folder / f"{file}.key"), "-out", str(draft)),
    )
    draft.replace(folder / f"{file}.crt")


def _openssl(*arguments: str) -> None:
    result = subprocess.run(["openssl", *arguments], check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise LocalClusterError(f"openssl {arguments[0]}: {result.stderr.strip()}")
