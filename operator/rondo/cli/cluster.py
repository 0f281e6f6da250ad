"""The cluster as the command line sees it: which one, and its objects as they change.

The only module of the command line that speaks to the API server, by the official client. Errors are translated here,
once, into what a person can act on.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import urllib3
import yaml
from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION

from rondo.api.base import GROUP, VERSION
from rondo.cli.errors import CommandError
from rondo.cli.output import LONGEST_REFUSAL, shorten
from rondo.cli.progress import Object

PIPELINES: Final = "pipelines"
RUNS: Final = "pipelineruns"
DEPLOYMENTS: Final = "modeldeployments"
GRAPHS: Final = "modelgraphs"

_CONNECT: Final = 5.0
_STREAM: Final = 50
"""Seconds of one watch; after it the object is read again, so a stream that has died in silence is noticed."""
_PAUSE: Final = 1.0
"""Seconds between tries to reach an API server that was there before."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP, whatever its status.

    Attributes:
        status: Its status.
        headers: Names in lower case.
        body: The bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def why(self) -> str:
        """What the API server says in words of a request that it has refused; else the body; in one line, cut."""
        try:
            said = self.json()
        except ValueError:
            said = self.body.decode(errors="replace")
        words = said.get("message", said) if isinstance(said, dict) else said
        return shorten(" ".join(str(words).split()), LONGEST_REFUSAL)

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: It is none.
        """
        return json.loads(self.body)


@dataclass(frozen=True)
class Cluster:
    """A connection to a cluster, for one namespace.

    Attributes:
        api: The client for objects of custom kinds.
        namespace: The namespace that is worked in.
    """

    api: client.CustomObjectsApi
    namespace: str

    def get(self, plural: str, name: str) -> Object | None:
        """Give an object, or None if it is not there.

        Raises:
            CommandError: The API server cannot be reached or refuses.
        """
        found = self._list(plural, field_selector=f"metadata.name={name}")["items"]
        return found[0] if found else None

    def list(self, plural: str) -> list[Object]:
        """Give all objects of a kind.

        Raises:
            CommandError: The API server cannot be reached or refuses.
        """
        items: list[Object] = self._list(plural)["items"]
        return items

    def follow(self, plural: str, name: str, *, lost: Callable[[str], None]) -> Iterator[Object | None]:
        """Give an object whenever it changes, None when it is not there; without end.

        Args:
            plural: Plural of its kind.
            name: Its name.
            lost: Is told why the API server, which was there before, does not answer; it is tried on.

        Raises:
            CommandError: The API server cannot be reached at first, or refuses.
        """
        reached = False
        while True:
            try:
                listed = self._list(plural, field_selector=f"metadata.name={name}")
                reached = True
                yield listed["items"][0] if listed["items"] else None
                yield from self._stream(plural, name, listed["metadata"]["resourceVersion"])
            except _UnreachableError as error:
                if not reached:
                    raise
                lost(str(error))
                time.sleep(_PAUSE)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        patience: float = 30.0,
    ) -> Reply:
        """Ask the API server for anything, such as what stands behind its proxy.

        Args:
            method: Such as `GET`.
            path: Path on the API server.
            query: Parameters of the path.
            headers: Headers besides those that say who asks.
            body: What is sent, as it is.
            patience: Seconds in which something has to come.

        Raises:
            CommandError: The API server cannot be reached.
        """
        loaded = self.api.api_client
        with _translated(self.namespace, ""):
            _, url, sent, *_ = loaded.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=dict(headers or {}),
                auth_settings=["BearerToken"],
            )
            return send(loaded.rest_client.pool_manager, method, url, headers=sent, body=body, patience=patience)

    def _list(self, plural: str, **options: Any) -> Any:
        with _translated(self.namespace, plural):
            listed = self.api.list_namespaced_custom_object(
                GROUP, VERSION, self.namespace, plural, _request_timeout=(_CONNECT, 30.0), **options
            )
        if not isinstance(listed, dict) or not isinstance(listed.get("items"), list):
            # So answers what stands in between, such as a page to log in.
            raise CommandError(f"the API server's answer is no list of {plural}.{GROUP}")
        return listed

    def _stream(self, plural: str, name: str, version: str) -> Iterator[Object | None]:
        """Give the changes after a version until the API server ends the stream or no longer knows the version."""
        events = watch.Watch().stream(  # type: ignore[no-untyped-call]
            self.api.list_namespaced_custom_object,
            GROUP,
            VERSION,
            self.namespace,
            plural,
            field_selector=f"metadata.name={name}",
            resource_version=version,
            timeout_seconds=_STREAM,
            _request_timeout=(_CONNECT, _STREAM + 10.0),
        )
        with _translated(self.namespace, plural), contextlib.closing(events):
            try:
                for event in events:
                    yield None if event["type"] == "DELETED" else event["object"]
            except ApiException as error:
                if error.status != 410:
                    raise


class RefusedError(CommandError):
    """The API server does not have what is asked for, or does not give it.

    Attributes:
        status: 404 or 403.
    """

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class _UnreachableError(CommandError):
    """No answer, as opposed to a refusal."""


def connect(*, context: str | None, kubeconfig: str | None, namespace: str | None) -> Cluster:
    """Connect as kubectl does: the kubeconfig's current context, or the pod's own ServiceAccount.

    Args:
        context: Another context of the kubeconfig.
        kubeconfig: Another file than KUBECONFIG's or ~/.kube/config.
        namespace: Another namespace than the context's.

    Raises:
        CommandError: There is no usable configuration.
    """
    try:
        loaded = config.new_client_from_config(config_file=kubeconfig, context=context)  # type: ignore[no-untyped-call]
        found = namespace or _namespace_of(context, kubeconfig)
    except (ConfigException, OSError) as error:
        if context or kubeconfig:
            raise CommandError(f"kubeconfig: {_one_line(error)}") from error
        loaded, found = _connect_inside(error), namespace or _own_namespace()
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        # The client library takes it for granted that the file has the right shape.
        words = f"{kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION} is none: {_one_line(error)}"
        raise CommandError(f"kubeconfig: {words}") from error
    loaded.configuration.retries = False
    return Cluster(client.CustomObjectsApi(loaded), found)


def _connect_inside(outside: Exception) -> client.ApiClient:
    inside = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=inside)  # type: ignore[no-untyped-call]
    except ConfigException:
        raise CommandError(
            f"no cluster: {_one_line(outside)}; set KUBECONFIG or --kubeconfig, or run this in a pod"
        ) from outside
    return client.ApiClient(inside)


def _own_namespace() -> str:
    with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace", encoding="utf-8") as file:  # noqa: PTH123
        return file.read().strip()


def _namespace_of(context: str | None, kubeconfig: str | None) -> str:
    contexts, active = config.list_kube_config_contexts(config_file=kubeconfig)  # type: ignore[no-untyped-call]
    chosen = next((each for each in contexts if each["name"] == context), active)
    return str(chosen["context"].get("namespace") or "default")


def send(
    pool: urllib3.PoolManager,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None,
    patience: float,
) -> Reply:
    """Send a request once and read its answer as a whole.

    Raises:
        urllib3.exceptions.HTTPError: There is no answer.
    """
    timeout = urllib3.Timeout(connect=_CONNECT, read=patience)
    answer = pool.request(method, url, headers=dict(headers), body=body, timeout=timeout, retries=False, redirect=False)
    return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.data)


@contextlib.contextmanager
def _translated(namespace: str, plural: str) -> Iterator[None]:
    """Turn the client's errors into words."""
    try:
        yield
    except ApiException as error:
        raise _refusal(error, namespace, plural) from error
    except urllib3.exceptions.HTTPError as error:
        raise _UnreachableError(f"the API server does not answer: {root_cause(error)}") from error
    except json.JSONDecodeError as error:
        raise CommandError("the API server's answer is no JSON") from error
    except ValueError as error:
        # A name, a path or a credential has characters that HTTP does not.
        raise CommandError(f"the API server cannot be asked so: {_one_line(error)}") from error


def _refusal(error: ApiException, namespace: str, plural: str) -> CommandError:
    match error.status:
        case 404:
            return RefusedError(f"this cluster has no {plural}.{GROUP}/{VERSION}: Rondo is not installed in it", 404)
        case 401:
            return CommandError("the API server does not know who you are: the kubeconfig's credentials are not valid")
        case 403:
            words = f"you may not read {plural}.{GROUP} in namespace {namespace}; the role view allows it"
            return RefusedError(words, 403)
        case status if status is not None and status >= 500:
            return _UnreachableError(f"the API server answered {status}: {error.reason}")
        case _:
            return CommandError(f"the API server refused: {error.status} {error.reason}")


def root_cause(error: BaseException) -> str:
    """Give what lies below the wrappings of an HTTP error: `[Errno 111] Connection refused`."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return root_cause(inner)
    # The client library's own errors begin with the name of the connection object.
    return _one_line(error).rpartition("object at ")[2].rpartition(": ")[2] or type(error).__name__


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
