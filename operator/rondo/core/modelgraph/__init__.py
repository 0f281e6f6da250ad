"""Model graphs: what is wrong with one, what the router is told of it, who its members are, and how it is.

`topology` and `validation` look at the spec alone; `members` at what its targets are; `compilation` makes the part of
the router's plan of both. `planner` ties that together for a graph, `rondo.core.router` for the routers that serve it.
"""
