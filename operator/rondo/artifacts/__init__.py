"""What runs beside the user's container: `fetch` before it, `push` after it, `verify` before a model server.

`python -m rondo.artifacts fetch|push|verify` reads one JSON document (see `config`) and speaks to the operator through
its exit code (`errors.ExitCode`) and its container's termination message. `push` waits beside the user's container for
as long as that runs, so it has to start fast and stay small: the standard library only, but for the client of S3 in
`bucket`, which is imported where a bucket is used.
"""
