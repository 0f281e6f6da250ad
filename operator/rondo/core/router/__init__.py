"""The routers that serve the graphs of a namespace: their plan, their ports, their objects, and what they say.

A router is one ConfigMap with the plan and a Deployment that watches it, with what that needs. It belongs to the graphs
that it serves: with the last of them it goes. `planner` works on the ConfigMap; `observed` is what graphs see of it.
"""
