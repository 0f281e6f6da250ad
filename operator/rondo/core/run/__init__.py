"""Decisions about PipelineRuns: which stage is how far, why, and what has to be done about it."""
