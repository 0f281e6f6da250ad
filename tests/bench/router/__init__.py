"""The router beside its peers: KServe's own, and nginx as the limit."""
