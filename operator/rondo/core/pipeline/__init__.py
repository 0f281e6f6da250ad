"""Decisions about Pipelines: what is valid, and when a run is due."""
