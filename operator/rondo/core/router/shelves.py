"""Where the versions of a graph stand while it goes over from one router to another."""

from __future__ import annotations

from rondo.core.modelgraph.parts import Shelf
from rondo.core.plan import Object, Ref
from rondo.core.resources import CONFIG_MAP, SERVICE
from rondo.core.router.document import read
from rondo.core.router.render import leads_to
from rondo.core.view import Key, View


def lent_shelf(view: View, key: Key, graph: Object) -> Shelf:
    """Give what another router has of a graph whose Service still leads there.

    Args:
        view: What is known.
        key: The router that looks.
        graph: The graph.
    """
    metadata = graph["metadata"]
    service = view.get(Ref(SERVICE, key.namespace, metadata["name"]))
    other = "" if service is None else leads_to(service)
    if other in {"", key.name} or not graph.get("status", {}).get("release"):
        return Shelf()
    return read(view.get(Ref(CONFIG_MAP, key.namespace, other))).shelf_of(metadata["name"], metadata["uid"])
