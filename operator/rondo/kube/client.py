"""A thin client of the Kubernetes API on plain dictionaries: paths, verbs, server-side apply, errors.

Decoding into typed models would cost ten times as much for each Job (docs/decisions/0004); the planners read
dictionaries. Nothing is retried here: the queue's backoff does that, per object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import msgspec

from rondo.core.plan import Object, Ref, Resource
from rondo.kube.clock import ServerClock
from rondo.kube.errors import ApiError, from_status, unreachable

PAGE_SIZE: Final = 500
WATCH_SECONDS: Final = 300
_FENCE: Final = ("name", "namespace", "uid", "resourceVersion")
_JSON: Final = "application/json"
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Selector:
    """Which objects of a kind to list or watch.

    Attributes:
        resource: The kind.
        namespace: Namespace, or empty for all.
        labels: Label selector.
        fields: Field selector.
    """

    resource: Resource
    namespace: str = ""
    labels: str = ""
    fields: str = ""

    def query(self) -> dict[str, str]:
        """Give the selectors as query parameters."""
        query = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {key: value for key, value in query.items() if value}


@dataclass(frozen=True, slots=True)
class Listing:
    """A consistent list, or a page of one.

    Attributes:
        items: Objects, each with `apiVersion` and `kind`.
        version: The resourceVersion of the list, from which a watch goes on.
    """

    items: Sequence[dict[str, Any]]
    version: str


@dataclass
class Client:
    """Requests to the API server.

    Attributes:
        session: The HTTP session.
        server: Base URL.
        requests: How many requests were made, by verb, kind and HTTP status.
        clock: The API server's clock.
    """

    session: aiohttp.ClientSession
    server: str
    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    clock: ServerClock = field(default_factory=ServerClock)

    async def get(self, ref: Ref) -> dict[str, Any] | None:
        """Read an object; None if it does not exist.

        Raises:
            ApiError: The API server refused or did not answer.
        """
        try:
            return await self._request("GET", ref.resource, path_of(ref))
        except ApiError as error:
            if error.not_found:
                return None
            raise

    async def list(self, selector: Selector) -> Listing:
        """List objects at one resourceVersion.

        Raises:
            ApiError: The API server refused or did not answer.
        """
        items: list[dict[str, Any]] = []
        version = ""
        async for page in self.pages(selector):
            items += page.items
            version = page.version
        return Listing(items, version)

    async def pages(self, selector: Selector) -> AsyncIterator[Listing]:
        """List objects page by page, all at one resourceVersion, so that never all of them have to be in memory.

        Raises:
            ApiError: As above; `gone` if it took so long that the version is compacted.
        """
        resource, query = selector.resource, {**selector.query(), "limit": str(PAGE_SIZE)}
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        while True:
            page = await self._request("GET", resource, collection(resource, selector.namespace), query=query)
            yield Listing([{**kind, **item} for item in page["items"]], page["metadata"]["resourceVersion"])
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    async def create(self, ref: Ref, body: Object) -> dict[str, Any]:
        """Create an object.

        Raises:
            ApiError: As above; `already_exists` if the name is taken.
        """
        path = collection(ref.resource, ref.namespace)
        return await self._request("POST", ref.resource, path, body=body)

    async def apply(self, ref: Ref, body: Object, *, manager: str, force: bool) -> dict[str, Any]:
        """Apply fields under a field manager (server-side apply).

        Raises:
            ApiError: As above; `conflict` if another manager owns a field and `force` is not given.
        """
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._request("PATCH", ref.resource, path_of(ref), body=body, query=query, content=_APPLY)

    async def replace_status(self, ref: Ref, thing: Object, status: Object) -> dict[str, Any]:
        """Write a status against the version of the object that it was decided on.

        Raises:
            ApiError: As above; `conflict` if the object has changed since.
        """
        metadata = {key: thing["metadata"][key] for key in _FENCE if key in thing["metadata"]}
        body = {"apiVersion": thing["apiVersion"], "kind": thing["kind"], "metadata": metadata, "status": status}
        return await self._request("PUT", ref.resource, f"{path_of(ref)}/status", body=body)

    async def replace(self, ref: Ref, body: Object) -> dict[str, Any]:
        """Write a whole object against its resourceVersion.

        Raises:
            ApiError: As above.
        """
        return await self._request("PUT", ref.resource, path_of(ref), body=body)

    async def merge_patch(self, ref: Ref, uid: str, body: Object) -> dict[str, Any]:
        """Patch an object that still has this uid.

        Raises:
            ApiError: As above; `not_found` also if the object of that name has another uid.
        """
        guarded = {**body, "metadata": {**body.get("metadata", {}), "uid": uid}}
        try:
            return await self._request("PATCH", ref.resource, path_of(ref), body=guarded, content=_MERGE)
        except ApiError as error:
            if error.code == 422 and "metadata.uid" in error.message:  # so it says that the uid may not change
                raise ApiError(404, "NotFound", f"{ref} with uid {uid} is gone") from error
            raise

    async def delete(self, ref: Ref, *, uid: str, propagation: str, grace: int | None = None) -> None:
        """Delete an object if it still has this uid; one that is gone counts as deleted.

        Raises:
            ApiError: As above.
        """
        options: dict[str, Any] = {"preconditions": {"uid": uid}, "propagationPolicy": propagation}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            await self._request("DELETE", ref.resource, path_of(ref), body=options)
        except ApiError as error:
            if not error.not_found and not error.conflict:
                raise

    @asynccontextmanager
    async def watch(self, selector: Selector, version: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Open a watch; iterate over its events, decoded, bookmarks included, until the API server ends it.

        Raises:
            ApiError: The API server refused; `gone` if the version is compacted.
        """
        query = {
            **selector.query(),
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        url = f"{self.server}{collection(selector.resource, selector.namespace)}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        try:
            async with self.session.get(url, params=query, timeout=timeout) as response:
                if response.status >= 400:
                    raise from_status(response.status, await _decode(response), response.headers.get("Retry-After"))
                yield _lines(response)
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            raise unreachable(error) from error

    async def _request(
        self,
        verb: str,
        resource: Resource,
        path: str,
        *,
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        content: str = _JSON,
    ) -> dict[str, Any]:
        data = msgspec.json.encode(body) if body is not None else None
        headers = {"Accept": _JSON, "Content-Type": content}
        asked = self.clock.monotonic()
        try:
            async with self.session.request(
                verb, f"{self.server}{path}", params=query, data=data, headers=headers
            ) as response:
                self.clock.hear(response.headers.get("Date", ""), asked)
                answer = await _decode(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.requests[verb, resource.kind, 0] += 1
            raise unreachable(error) from error
        self.requests[verb, resource.kind, response.status] += 1
        if response.status >= 400 or not isinstance(answer, dict):
            raise from_status(response.status, answer, response.headers.get("Retry-After"))
        return answer


def collection(resource: Resource, namespace: str) -> str:
    """Give the URL path of a kind's objects, in one namespace or, where it is empty, in all."""
    root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    return f"{root}/namespaces/{namespace}/{resource.plural}" if namespace else f"{root}/{resource.plural}"


def path_of(ref: Ref) -> str:
    """Give the URL path of one object."""
    return f"{collection(ref.resource, ref.namespace)}/{ref.name}"


async def _decode(response: aiohttp.ClientResponse) -> Any:
    """Decode an answer; what is no JSON comes from something between us and the API server, and stays text."""
    body = await response.read()
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body[:200].decode(errors="replace")


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Decode a stream of JSON lines of any length; asyncio's own line reader stops at 64 KiB."""
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                event = msgspec.json.decode(line)
                if event["type"] == "ERROR":
                    raise from_status(int(event["object"].get("code", 500)), event["object"])
                yield event
