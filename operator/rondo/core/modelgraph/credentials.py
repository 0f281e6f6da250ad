"""What targets want of Secrets and ConfigMaps: keys that the router finds as files below its folder of credentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rondo.api.modelgraph import Target
from rondo.core.plan import Ref, Resource
from rondo.core.resources import CONFIG_MAP, SECRET


@dataclass(frozen=True, order=True)
class Credential:
    """A key of a Secret or a ConfigMap.

    Attributes:
        kind: Kind of the object.
        name: Its name.
        key: The key.
    """

    kind: str
    name: str
    key: str

    @property
    def file(self) -> str:
        """Where the router finds it: `SECRET/KEY`, or `ConfigMap/NAME/KEY`, for no Secret has a name with capitals."""
        path = f"{self.name}/{self.key}"
        return path if self.kind == SECRET.kind else f"{self.kind}/{path}"

    @classmethod
    def of(cls, file: str) -> Credential:
        """Tell what a file is made of."""
        *kind, name, key = file.split("/")
        return cls(kind[0] if kind else SECRET.kind, name, key)

    def why(self, namespace: str, pod: str, words: str) -> str:
        """Say why it cannot be used, as a pod of the router sees it."""
        return f"key {self.key} of {Ref(self._resource, namespace, self.name)} cannot be used by Pod {pod}: {words}"

    @property
    def _resource(self) -> Resource:
        return SECRET if self.kind == SECRET.kind else CONFIG_MAP


def credentials_of(target: Target) -> Iterator[Credential]:
    """Give what a target wants."""
    secret = secret_of(target)
    if secret is not None:
        yield secret
    authorities = authorities_of(target)
    if authorities is not None:
        yield authorities


def secret_of(target: Target) -> Credential | None:
    """Give by what the router shows a target who it is."""
    shown = None if target.auth is None else target.auth.bearer or target.auth.header
    return None if shown is None else Credential(SECRET.kind, shown.secret_key_ref.name, shown.secret_key_ref.key)


def authorities_of(target: Target) -> Credential | None:
    """Give by what a target shows the router who it is."""
    if target.ca is None:
        return None
    kind = SECRET if target.ca.secret_key_ref is not None else CONFIG_MAP
    of = target.ca.secret_key_ref or target.ca.config_map_key_ref
    return None if of is None else Credential(kind.kind, of.name, of.key)


def credentials_in(written: Mapping[str, Any]) -> Iterator[Credential]:
    """Give all that a graph's part of the plan names."""
    for target in (node.get("target", {}) for node in written["nodes"]):
        files = [header["file"] for header in target.get("headers", ())]
        yield from map(Credential.of, [*files, target["ca"]] if "ca" in target else files)
