"""The one place where Rondo's version stands: read by the build, the operator and the command line."""

__version__ = "0.1.0"
