"""A small HTTPS client for the API server, etcd and the health addresses of a cluster's components."""

import json
import ssl
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import Any

from localcluster.errors import LocalClusterError

TIMEOUT_SECONDS = 10


class ConflictError(LocalClusterError):
    """The object exists already."""


class Client:
    """Speaks as the administrator of the cluster whose certificates are in the folder."""

    def __init__(self, certificates: Path) -> None:
        self._certificates = certificates

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        context = ssl.create_default_context(cafile=str(self._certificates / "ca.crt"))
        context.load_cert_chain(self._certificates / "admin.crt", self._certificates / "admin.key")
        # No proxy of the environment stands between this host and itself.
        return urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({})
        )

    def is_ok(self, url: str) -> bool:
        """Return whether the address answers 200."""
        try:
            with self._opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def get(self, url: str) -> dict[str, Any] | None:
        """Return the JSON object at that address, or None where there is none (404)."""
        try:
            return self._call(url, None)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise LocalClusterError(f"GET {url}: {error.code} {_reason(error)}") from error

    def post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a JSON object and return the one that is answered.

        Raises:
            ConflictError: 409, the object exists.
            LocalClusterError: Any other refusal.
        """
        try:
            return self._call(url, body)
        except urllib.error.HTTPError as error:
            kind = ConflictError if error.code == 409 else LocalClusterError
            raise kind(f"POST {url}: {error.code} {_reason(error)}") from error

    def _call(self, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                parsed: dict[str, Any] = json.load(answer)
                return parsed
        except urllib.error.HTTPError:
            raise
        except OSError as error:
            raise LocalClusterError(f"{url}: {error}") from error


def _reason(error: urllib.error.HTTPError) -> str:
    return error.read().decode(errors="replace")[:500]
