"""Model deployments: revisions, what they are rendered to, and how they are.

A revision is the pod template that was rendered for one state of the spec. It is frozen in a ControllerRevision,
because an upgrade of the operator or an edit of a ModelRuntime must not roll models that nobody changed; `revision`
tells the rules. `planner` ties the parts together.
"""
