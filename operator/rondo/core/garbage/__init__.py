"""Artifact garbage: what on a namespace's claim is still referred to, and the Job that removes the rest."""
