"""Rondo, a Kubernetes operator that orchestrates AI. docs/architecture.md maps the layers of this package."""
