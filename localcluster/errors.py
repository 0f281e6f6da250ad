"""The one error of this package: what a person can read and act on."""


class LocalClusterError(Exception):
    """Something the caller can put right; its text names the object, what is wrong and what to do."""
