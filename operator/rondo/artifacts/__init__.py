"""What runs beside the user's container: `fetch` before it, `push` after it, `verify` before a model server.

`python -m rondo.artifacts fetch|push|verify` reads one JSON document (see `config`) and speaks to the operator through
its exit code (`errors.ExitCode`) and its container's termination message. The standard library only: `push` waits
beside the user's container for as long as that runs, so it has to start fast and stay small.
"""
