"""Who we are: the ServiceAccount of the pod, else the kubeconfig; read by kopf, used by the whole process."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Final

import kopf

from rondo.kube.session import Credentials
from rondo.version import __version__

TOKEN_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

log = logging.getLogger(__name__)


def find_credentials() -> Credentials:
    """Find how to reach the API server.

    Raises:
        LookupError: Neither a ServiceAccount nor a kubeconfig is there.
    """
    settings = kopf.OperatorSettings()
    in_cluster = kopf.login_with_service_account(logger=log, settings=settings)
    info = in_cluster or kopf.login_with_kubeconfig(logger=log, settings=settings)
    if info is None:
        raise LookupError(
            "no way to the API server: neither a ServiceAccount's token nor KUBECONFIG nor ~/.kube/config"
        )
    return Credentials(
        server=info.server,
        tls=info.as_ssl_context(),
        headers={"User-Agent": user_agent(), **({} if in_cluster else info.as_http_headers())},
        token_file=TOKEN_FILE if in_cluster else None,
    )


def user_agent() -> str:
    """Give what audit logs call us by: which process of which pod, for two may work side by side."""
    return f"rondo/{__version__} ({socket.gethostname()}/{os.getpid()})"
