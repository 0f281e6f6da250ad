"""What the Job of an attempt is rendered from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rondo.api.pipeline import Stage
from rondo.core import names
from rondo.core.artifacts import AnyStore, Place, attempt_place, secret_of, store_of
from rondo.core.items import Item
from rondo.core.pipeline.wiring import Wiring
from rondo.core.plan import Object
from rondo.core.references import Lookup
from rondo.core.settings import PlannerSettings


@dataclass(frozen=True, slots=True)
class Lines:
    """A file of JSON lines that are items.

    Attributes:
        place: Where it is stored.
        digest: Its digest.
        indexes: The items that a Job works on, such as `0-17,20`.
    """

    place: Place
    digest: str
    indexes: str


@dataclass(frozen=True, slots=True)
class Indexed:
    """One Job for many items, each of which is an index of it.

    Attributes:
        count: Number of items that this Job works on.
        items: The ConfigMap that holds them, index by index; or the file that they are lines of.
        parallelism: Items at a time.
        max_failed: Items that may fail.
    """

    count: int
    items: str | Lines
    parallelism: int
    max_failed: int


@dataclass(frozen=True, slots=True)
class Gathering:
    """An output of all items of a fan-out, as an input.

    Attributes:
        output: Its name.
        name: What it is called in the folder of its item: the last part of its path.
        total: Number of items.
        stored: Number of ConfigMaps with the records of the items that succeeded.
        stored_in: Names of these but for the number at their end.
    """

    output: str
    name: str
    total: int
    stored: int
    stored_in: str


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """What an attempt of a stage is rendered from.

    Attributes:
        run: The PipelineRun.
        pipeline: Name of its Pipeline, empty for a pipeline written in place.
        wiring: The frozen pipeline.
        stage: The job stage.
        number: Number of the attempt, from 1.
        lookup: Values of the references of the stage.
        digests: Digests of the run's artifacts, by URI.
        settings: The installation's settings.
        oom_kills: Earlier attempts that were killed for memory.
        item: The item of the fan-out, if each has a Job.
        indexed: What one Job for all items needs to know, if there is one.
        gathered: The inputs that are outputs of all items of a fan-out, by the input's path.
    """

    run: Object
    pipeline: str
    wiring: Wiring
    stage: Stage
    number: int
    lookup: Lookup
    digests: Mapping[str, str]
    settings: PlannerSettings
    oom_kills: int = 0
    item: Item | None = None
    indexed: Indexed | None = None
    gathered: Mapping[str, Gathering] = field(default_factory=dict)

    @property
    def job_name(self) -> str:
        """Name of the attempt's Job."""
        return name_job(self.run, self.stage.name, self.item, self.number)

    @property
    def store(self) -> AnyStore:
        """Where the pipeline stores its artifacts."""
        return store_of(self.wiring.spec.artifacts, self.settings.store)

    @property
    def secret(self) -> str | None:
        """Name of the Secret with the credentials of buckets."""
        return secret_of(self.wiring.spec.artifacts, self.settings.store)

    @property
    def place(self) -> Place:
        """Folder that the attempt stores its outputs in."""
        return attempt_place(
            self.store,
            pipeline=self.pipeline,
            run_uid=self.run["metadata"]["uid"],
            stage=self.stage.name if self.item is None else f"{self.stage.name}/{self.item.index}",
            attempt=self.number,
        )


def name_job(run: Object, stage: str, item: Item | None, number: int) -> str:
    """Name the Job of an attempt of a stage, or of one of its items."""
    metadata = run["metadata"]
    parts = () if item is None else (f"item-{item.index}",)
    return names.child_name(metadata["name"], stage, metadata["uid"], *parts, number)
