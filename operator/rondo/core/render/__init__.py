"""From spec to Kubernetes objects: builders that take specs and return plain objects."""
