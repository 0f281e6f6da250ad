"""What the planner of graphs sees: one graph, what it points at, and the router that serves it."""

from __future__ import annotations

from dataclasses import dataclass, field

from rondo.api.modelgraph import ModelGraphStatus
from rondo.core import names
from rondo.core.modelgraph.parts import Shelf
from rondo.core.modelgraph.surroundings import Surroundings
from rondo.core.plan import Memory, Object, Ref
from rondo.core.resources import SERVICE
from rondo.core.router.observed import Router
from rondo.core.router.render import leads_to


@dataclass(frozen=True)
class GraphSnapshot:
    """One look at a ModelGraph.

    Attributes:
        owner: The ModelGraph.
        status: Its status, parsed.
        around: What it points at, directly or through other graphs.
        router: The router that it asks for.
        service: The Service of its name, whoever it belongs to.
        memory: What this process remembers.
        lent: What the router has of the graph that its Service still leads to, if that is another one.
        present: Names of all graphs of the namespace that are not about to go.
    """

    owner: Object
    status: ModelGraphStatus
    around: Surroundings
    router: Router
    service: Object | None
    memory: Memory
    lent: Shelf = field(default_factory=Shelf)
    present: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Name of the graph."""
        name: str = self.owner["metadata"]["name"]
        return name

    @property
    def uid(self) -> str:
        """Uid of the graph."""
        uid: str = self.owner["metadata"]["uid"]
        return uid

    @property
    def namespace(self) -> str:
        """Namespace of the graph."""
        namespace: str = self.owner["metadata"]["namespace"]
        return namespace

    @property
    def generation(self) -> int:
        """Generation of its spec."""
        generation: int = self.owner["metadata"]["generation"]
        return generation

    @property
    def service_ref(self) -> Ref:
        """The Service of its name."""
        return Ref(SERVICE, self.namespace, self.name)

    @property
    def owns_service(self) -> bool:
        """Whether the Service of its name, if there is one, is its own."""
        return self.service is None or names.controller_uid(self.service) == self.owner["metadata"]["uid"]

    @property
    def led_elsewhere(self) -> bool:
        """Whether its Service leads to another router than it asks for now."""
        return self.service is not None and leads_to(self.service) not in {"", self.router.key.name}
