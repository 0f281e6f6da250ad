"""Revisions: the pod template that was rendered for one state of the spec, frozen in a ControllerRevision.

What makes a revision is its hash, over the deployment's uid and those fields of the spec that say what is served and
how (`_PARTS`). `replicas` and `rollout` change no pod and are left out, and so is everything that is not the
deployment's own: its ModelRuntime and this operator. The rules are these:

- A hash that has no ControllerRevision yet is rendered with the runtime and the operator as they are now, and what was
  rendered is stored before it is applied. The name is made of the hash, so creating it twice is harmless, and whoever
  is first is right: only what is stored is ever applied.
- A hash that has one is served as it is stored. So an edit of the ModelRuntime or an upgrade rolls nothing
  (`RuntimeOutdated` says so), and going back to an earlier spec goes back to exactly the pods of then. Any change of
  the spec, of `model.version` for one, takes the runtime as it is at that time.
- A ControllerRevision that is deleted by hand is made again from the Deployment, which carries both halves of it: the
  template, and the origin in an annotation. Only if the Deployment is gone or rolls out another revision it is
  rendered anew.
- The newest `KEPT` are kept, and always the one that is rolled out and those that still have pods.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from rondo.api.base import GROUP
from rondo.api.modeldeployment import ModelDeploymentSpec
from rondo.core import names
from rondo.core.deployment.canonical import digest
from rondo.core.plan import Object

KEPT: Final = 10
"""So many revisions are kept of each deployment."""

REVISION: Final = f"{GROUP}/revision"
"""Label of a revision's pods and of its ControllerRevision: its hash."""

ORIGIN: Final = f"{GROUP}/revision-origin"
"""Annotation of the Deployment: where the revision that it rolls out came from, as JSON."""

_PARTS: Final = {"model", "runtime", "server", "args", "env", "resources", "node_selector", "tolerations"}


@dataclass(frozen=True, slots=True)
class Origin:
    """What a revision was rendered from.

    Attributes:
        model_uri: Its model.
        model_version: What the model's version is called.
        protocol: What its server speaks.
        runtime: Name of the ModelRuntime, empty for a server written in place.
        runtime_digest: Digest of the ModelRuntime as it was, empty for a server written in place.
    """

    model_uri: str
    model_version: str
    protocol: str
    runtime: str = ""
    runtime_digest: str = ""

    def to_json(self) -> str:
        """Write it as the Deployment's annotation holds it."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Origin:
        """Read the Deployment's annotation.

        Raises:
            ValueError: It is not one.
        """
        try:
            return cls.of(json.loads(text))
        except (AttributeError, TypeError) as error:
            raise ValueError(f"annotation {ORIGIN} is not as this operator writes it: {error}") from error

    @classmethod
    def of(cls, parts: Mapping[str, Any]) -> Origin:
        """Take the fields that are known; another version of the operator may have written others too."""
        return cls(**{field.name: parts[field.name] for field in fields(cls) if field.name in parts})


@dataclass(frozen=True, slots=True)
class Revision:
    """A frozen revision.

    Attributes:
        name: Name of its ControllerRevision.
        uid: Uid of its ControllerRevision.
        hash: What it is called: 8 hex digits.
        number: Counts the revisions of a deployment.
        template: Its pod template, labels included.
        origin: What it was rendered from.
    """

    name: str
    uid: str
    hash: str
    number: int
    template: Mapping[str, Any]
    origin: Origin

    @property
    def image(self) -> str:
        """Image of its server."""
        containers: list[dict[str, Any]] = self.template["spec"]["containers"]
        return next((str(c.get("image", "")) for c in containers if c["name"] == "main"), "")

    @property
    def has_readiness(self) -> bool:
        """Whether its server says when the model is loaded."""
        return any("readinessProbe" in c for c in self.template["spec"]["containers"] if c["name"] == "main")


def hash_of(uid: str, spec: ModelDeploymentSpec) -> str:
    """Give the hash of the revision that a spec asks for.

    Fields at their defaults do not count, so that a default which a newer operator adds changes no hash.
    """
    parts = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True, include=_PARTS)
    return digest([uid, parts])


def name_of(deployment: str, hash_: str) -> str:
    """Name the ControllerRevision of a hash."""
    return f"{deployment[:54].rstrip('-')}-{hash_}"


def read(thing: Object) -> Revision:
    """Read a ControllerRevision that this operator has made."""
    metadata, data = thing["metadata"], thing["data"]
    return Revision(
        name=metadata["name"],
        uid=metadata["uid"],
        hash=metadata["labels"][REVISION],
        number=thing["revision"],
        template=data["template"],
        origin=Origin.of(data["origin"]),
    )


def build(
    owner: Object, *, hash_: str, number: int, template: Mapping[str, Any], origin: Origin
) -> tuple[str, dict[str, Any]]:
    """Build the ControllerRevision that freezes a template, and give its name with it.

    Args:
        owner: The ModelDeployment.
        hash_: The revision's hash.
        number: One more than the highest so far.
        template: The pod template, its labels included.
        origin: What it was rendered from.
    """
    metadata = owner["metadata"]
    name = name_of(metadata["name"], hash_)
    return name, {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {names.MANAGED_BY: names.MANAGER, names.MODEL_DEPLOYMENT: metadata["name"], REVISION: hash_},
            "ownerReferences": [names.owner_reference(owner)],
        },
        "revision": number,
        "data": {"template": template, "origin": asdict(origin)},
    }


def rolled_out(deployment: Object) -> str:
    """Give the hash of the revision that a Deployment rolls out, empty if it carries none."""
    template: Mapping[str, Any] = deployment["spec"].get("template", {})
    found: str = template.get("metadata", {}).get("labels", {}).get(REVISION, "")
    return found


def recover(deployment: Object) -> tuple[Mapping[str, Any], Origin] | None:
    """Take template and origin of the revision that a Deployment rolls out from the Deployment itself."""
    text = deployment["metadata"].get("annotations", {}).get(ORIGIN)
    if text is None:
        return None
    template = deployment["spec"]["template"]
    kept = {key: value for key, value in template["metadata"].items() if value is not None}
    try:
        return {**template, "metadata": kept}, Origin.from_json(text)
    except ValueError:
        return None


def superfluous(revisions: Iterable[Revision], used: Iterable[str]) -> list[Revision]:
    """Give the revisions that need not be kept: beyond the newest `KEPT`, and none that is used.

    Args:
        revisions: All of a deployment.
        used: Hashes that must stay, whatever their age.
    """
    by_age = sorted(revisions, key=lambda revision: revision.number, reverse=True)
    staying = set(used)
    return [revision for revision in by_age[KEPT:] if revision.hash not in staying]
