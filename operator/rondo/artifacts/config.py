"""What `python -m rondo.artifacts` is told: one JSON document in the environment variable `RONDO_ARTIFACTS`.

The operator's renderer writes it by `Config.to_json`; the container reads it by `Config.from_json`. Its fields:

    {
      "claims":  {"rondo-artifacts": "/rondo/claims/rondo-artifacts"},
      "inputs":  [{"what": "input /in", "uri": "pvc://rondo-artifacts/digits/6a1e/prepare-1/data",
                   "digest": "sha256:9f86…"},
                  {"what": "input /base", "uri": "s3://lake/base", "path": "/rondo/inputs/1"}],
      "outputs": [{"name": "model", "path": "/out/model",
                   "uri": "pvc://rondo-artifacts/digits/6a1e/train-1/model"}],
      "item":    {"uri": "pvc://rondo-artifacts/digits/6a1e/split-1/shards", "digest": "sha256:77ab…",
                  "path": "/rondo/item/item.json", "indexes": "0-3,7"},
      "gathered": [{"what": "input /models", "path": "/rondo/gathered/0", "output": "model", "name": "model",
                    "total": 12, "records": "/rondo/records/0"}]
    }

`claims` gives, for each claim that a URI names, the path at which this container has the whole claim mounted. `inputs`
matter to `fetch` and `verify`, `outputs` to `push`; either may be left out, and so may `what` and `digest` of an input.
An input from a bucket is downloaded to its `path`; how to reach the bucket stands in the environment (see `bucket`).
`item` is the file of JSON lines of which this pod has one, and `gathered` are outputs of all items of a fan-out: both
matter to `fetch`. An output with `lines` is such a file. Unknown fields are refused: an operator and an image that do
not fit say so.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rondo.artifacts.errors import ArtifactError, ExitCode

VARIABLE: Final = "RONDO_ARTIFACTS"
"""The environment variable that holds the document."""

PRE_STOP: Final = ("sh", "-c", "until [ -s /dev/termination-log ]; do sleep 0.1; done")
"""The command of the preStop hook that every `push` container needs: SIGTERM waits until push can take it.

Without it, on a node with a busy CPU, 5 of 45 pods with a main container that ended at once never stored their outputs.
"""

MARKS_FILE: Final = "/rondo/marks/marks"
"""Where a sweep finds its marks."""

SCHEME: Final = "pvc://"

S3_SCHEME: Final = "s3://"


@dataclass(frozen=True, slots=True)
class Input:
    """An artifact that has to be there.

    Attributes:
        uri: Where it is stored: `pvc://CLAIM/PATH` or `s3://BUCKET/PATH`.
        what: What to call it in messages, such as `input /in` or `model`.
        digest: Digest that its manifest has to state, or None to check only that it exists.
        path: Where to download it to, if it is in a bucket: a path that becomes the file or the directory.
    """

    uri: str
    what: str = "input"
    digest: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """A file or directory to store.

    Attributes:
        name: Name of the output.
        path: Absolute path in this container, the same as in the user's.
        uri: Where to store it.
        lines: Whether it is a file of JSON lines that are to be counted.
    """

    name: str
    path: str
    uri: str
    lines: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """The line of a file that is the item of this pod.

    Attributes:
        uri: Where the file is stored.
        digest: Digest that its manifest has to state.
        path: File that gets the line.
        indexes: The items that this Job works on, such as `0-17,20`; RONDO_INDEX counts through them.
    """

    uri: str
    digest: str
    path: str
    indexes: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """An output of all items of a fan-out.

    Attributes:
        what: What to call it in messages, such as `input /models`.
        path: Folder that gets a folder for each item, and the index.
        output: Name of the output.
        name: What the output is called in the folder of its item.
        total: Number of items.
        records: Folder with a file for each item that succeeded, named by its index; None if there is none.
    """

    what: str
    path: str
    output: str
    name: str
    total: int
    records: str | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """What stays on a claim when it is swept.

    Attributes:
        claim: The claim.
        at: When the marks were taken, in seconds since 1970.
        age: Seconds; a run's folder in which anything is younger stays.
        runs: Uids of runs of which everything stays.
        pipelines: Names of pipelines of which everything stays.
        paths: Artifacts that are referred to, or paths within them, relative to the claim.
    """

    claim: str
    at: float
    age: float
    runs: frozenset[str] = frozenset()
    pipelines: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()

    def pack(self) -> str:
        """Write it small: thousands of uids have to fit into an annotation."""
        fields = {**asdict(self), **{key: sorted(getattr(self, key)) for key in ("runs", "pipelines", "paths")}}
        return base64.b85encode(zlib.compress(json.dumps(fields).encode(), 9)).decode()

    @classmethod
    def unpack(cls, text: str) -> Sweep:
        """Read what `pack` wrote.

        Raises:
            ArtifactError: It is something else.
        """
        try:
            fields: dict[str, Any] = json.loads(zlib.decompress(base64.b85decode(text.strip())))
            for key in ("runs", "pipelines", "paths"):
                fields[key] = frozenset(fields[key])
            return cls(**fields)
        except (ValueError, KeyError, TypeError, zlib.error) as error:
            raise ArtifactError(f"the marks cannot be read: {error}", ExitCode.CONFIG) from error


@dataclass(frozen=True, slots=True)
class Config:
    """The whole document.

    Attributes:
        claims: Path at which each PersistentVolumeClaim is mounted, by its name.
        inputs: What `fetch` and `verify` look for.
        outputs: What `push` stores.
        item: The item that `fetch` picks for this pod.
        gathered: What `fetch` gathers from all items of a fan-out.
    """

    claims: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    item: Item | None = None
    gathered: tuple[Gathered, ...] = ()

    def to_json(self) -> str:
        """Write the document."""
        return json.dumps(asdict(self, dict_factory=_known), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Read the document.

        Raises:
            ArtifactError: It is not JSON, or its fields are not those of this page.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            item = fields.pop("item", None)
            return cls(
                claims=dict(fields.pop("claims", {})),
                inputs=tuple(Input(**each) for each in fields.pop("inputs", ())),
                outputs=tuple(Output(**each) for each in fields.pop("outputs", ())),
                item=None if item is None else Item(**item),
                gathered=tuple(Gathered(**each) for each in fields.pop("gathered", ())),
                **fields,
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise ArtifactError(f"{VARIABLE} cannot be read: {error}", ExitCode.CONFIG) from error


def _known(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Leave out what is not said, so that images which do not know a field take documents without it."""
    return {name: value for name, value in fields if value is not None and value is not False and value != ()}
