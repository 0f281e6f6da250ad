"""The files that follow from the models: CRDs, the chart's parts, manifests and the reference.

Nothing here runs in the operator; `python -m rondo.api.generate` is for people who change the models.
"""
