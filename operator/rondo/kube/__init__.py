"""The thin client of the Kubernetes API."""
