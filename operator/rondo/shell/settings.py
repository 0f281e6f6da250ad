"""Settings of one operator process, from environment variables that the chart sets."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from rondo.api.pipeline import AccessMode
from rondo.core.artifacts import AnyStore, ArtifactStore, bucket_store
from rondo.core.durations import parse_duration
from rondo.core.settings import Collect, PlannerSettings, RouterSettings


@dataclass(frozen=True)
class Settings:
    """What an installation decides.

    Attributes:
        namespace: The operator's own namespace, where its Lease is.
        watch_namespaces: Namespaces to work in; empty for all.
        leader_election: Whether to stand by for the Lease; off for one local process.
        lease: Name of the Lease.
        identity: Name of this process.
        log_format: `json` or `text`.
        log_level: Such as `INFO`.
        probe_port: Port of /livez, /readyz and /metrics; 0 for none.
        runtimes: Folder with ModelRuntimes to apply at start, if there is one.
        planner: What planners have to know.
    """

    namespace: str = "rondo-system"
    watch_namespaces: tuple[str, ...] = ()
    leader_election: bool = True
    lease: str = "rondo"
    identity: str = "rondo"
    log_format: str = "text"
    log_level: str = "INFO"
    probe_port: int = 8080
    runtimes: Path | None = None
    planner: PlannerSettings = field(default_factory=PlannerSettings)


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; each variable is named in docs/reference/settings.md.

    Raises:
        ValueError: A variable has a value that it cannot have; the message names it.
    """
    read = _Reader(environment)
    runtimes = read.text("RONDO_RUNTIMES", "")
    return Settings(
        namespace=read.text("RONDO_NAMESPACE", "rondo-system"),
        watch_namespaces=tuple(filter(None, read.text("RONDO_WATCH_NAMESPACES", "").split(","))),
        leader_election=read.flag("RONDO_LEADER_ELECTION", default=True),
        lease=read.text("RONDO_LEASE", "rondo"),
        identity=read.text("RONDO_IDENTITY", f"{socket.gethostname()}-{os.getpid()}"),
        log_format=read.choice("RONDO_LOG_FORMAT", "text", ("json", "text")),
        log_level=read.choice("RONDO_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        probe_port=read.number("RONDO_PROBE_PORT", 8080),
        runtimes=Path(runtimes) if runtimes else None,
        planner=PlannerSettings(
            image=read.text("RONDO_IMAGE", "rondo-operator:dev"),
            image_pull_policy=read.choice(
                "RONDO_IMAGE_PULL_POLICY", "IfNotPresent", ("Always", "IfNotPresent", "Never")
            ),
            store=_store(read),
            collect=_collect(read),
            router=_router(read),
        ),
    )


def _router(read: _Reader) -> RouterSettings:
    usual = RouterSettings()
    return RouterSettings(
        image=read.text("RONDO_ROUTER_IMAGE", usual.image),
        replicas=read.number("RONDO_ROUTER_REPLICAS", usual.replicas),
        max_replicas=read.number("RONDO_ROUTER_MAX_REPLICAS", usual.max_replicas),
        resources=read.object("RONDO_ROUTER_RESOURCES", usual.resources),
    )


def _collect(read: _Reader) -> Collect | None:
    if not read.flag("RONDO_COLLECT", default=True):
        return None
    return Collect(age=read.duration("RONDO_COLLECT_AGE", "24h"), every=read.duration("RONDO_COLLECT_EVERY", "24h"))


def _store(read: _Reader) -> AnyStore:
    modes = tuple(mode.value for mode in AccessMode)
    claim = ArtifactStore(
        claim=read.text("RONDO_ARTIFACTS_CLAIM", "rondo-artifacts"),
        size=read.text("RONDO_ARTIFACTS_SIZE", "10Gi"),
        access_mode=AccessMode(read.choice("RONDO_ARTIFACTS_ACCESS_MODE", "ReadWriteOnce", modes)),
        storage_class=read.text("RONDO_ARTIFACTS_STORAGE_CLASS", "") or None,
    )
    uri, secret = read.text("RONDO_ARTIFACTS_URI", ""), read.text("RONDO_ARTIFACTS_SECRET", "")
    if not uri:
        return claim
    try:
        return bucket_store(uri, secret or None)
    except ValueError as error:
        raise ValueError(f"RONDO_ARTIFACTS_URI: {error}") from error


@dataclass(frozen=True)
class _Reader:
    environment: Mapping[str, str]

    def text(self, name: str, default: str) -> str:
        return self.environment.get(name) or default

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise ValueError(f"{name}={value!r} is not one of {', '.join(allowed)}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        return self.choice(name, "true" if default else "false", ("true", "false")) == "true"

    def duration(self, name: str, default: str) -> timedelta:
        value = self.text(name, default)
        try:
            return parse_duration(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    def object(self, name: str, default: Mapping[str, Any]) -> Mapping[str, Any]:
        value = self.text(name, "")
        if not value:
            return default
        try:
            return msgspec.json.decode(value, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ValueError(f"{name}={value!r} is no JSON object: {error}") from error

    def number(self, name: str, default: int) -> int:
        value = self.text(name, str(default))
        if not value.isdigit():
            raise ValueError(f"{name}={value!r} is not a number")
        return int(value)
