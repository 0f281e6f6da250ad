"""The CRDs of all kinds on the shared control plane."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from kubernetes.client import ApiException, CustomObjectsApi
from kubernetes.config import kube_config

from localcluster.cluster import Cluster
from rondo.api.base import GROUP, VERSION
from rondo.api.crds import build_crd
from rondo.api.kinds import KINDS, PLANNED
from tests.integration.api.objects import Body

ROOT: Final = Path(__file__).parents[3]
BY_NAME: Final = {kind.name: kind for kind in (*KINDS, *PLANNED)}
STRICT: Final = {"field_validation": "Strict"}


@dataclass(frozen=True)
class Api:
    """What a user can do in one namespace; unknown fields are errors, as with kubectl."""

    cluster: Cluster
    namespace: str
    objects: Any

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace and return what it prints."""
        return self.cluster.kubectl("-n", self.namespace, *arguments, stdin=stdin)

    def create(self, body: Body, *, dry_run: bool = False) -> Body:
        """Create an object and return what the API server made of it.

        Raises:
            ApiException: It was refused.
        """
        options = {**STRICT, "dry_run": "All"} if dry_run else STRICT
        kind = BY_NAME[body["kind"]]
        if kind.namespaced:
            where = (GROUP, VERSION, self.namespace, kind.plural)
            made: Body = self.objects.create_namespaced_custom_object(*where, body, **options)
        else:
            made = self.objects.create_cluster_custom_object(GROUP, VERSION, kind.plural, body, **options)
        return made

    def patch(self, body: Body, change: Body, *, status: bool = False) -> Body:
        """Patch an object, or its status, and return it.

        Raises:
            ApiException: The change was refused.
        """
        objects = self.objects
        patch = objects.patch_namespaced_custom_object_status if status else objects.patch_namespaced_custom_object
        where = (GROUP, VERSION, self.namespace, BY_NAME[body["kind"]].plural, body["metadata"]["name"])
        patched: Body = patch(*where, change, _content_type="application/merge-patch+json")
        return patched

    def refusal(self, body: Body) -> str:
        """Give the API server's words for not taking an object."""
        with pytest.raises(ApiException) as refused:
            self.create(body, dry_run=True)
        return words_of(refused.value)


def words_of(error: ApiException) -> str:
    """Give what the API server said."""
    return str(json.loads(error.body or "{}")["message"])


@pytest.fixture(scope="session")
def api(api_server: Cluster) -> Iterator[Api]:
    """The committed CRDs, for the time of the session those of the planned kinds, and a namespace."""
    planned = json.dumps({"apiVersion": "v1", "kind": "List", "items": [build_crd(kind) for kind in PLANNED]})
    namespace = f"api-{uuid.uuid4().hex[:8]}"
    server_side = ("apply", "--server-side", "--field-manager=test")
    api_server.kubectl(*server_side, "-f", str(ROOT / "crds"))
    api_server.kubectl(*server_side, "-f", "-", stdin=planned)
    api_server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    api_server.kubectl("create", "namespace", namespace)
    client = kube_config.new_client_from_config(str(api_server.kubeconfig))  # type: ignore[no-untyped-call]
    yield Api(api_server, namespace, CustomObjectsApi(client))
    api_server.kubectl("delete", "namespace", namespace, "--wait=false")
    api_server.kubectl("delete", "--wait=false", "-f", "-", stdin=planned)
