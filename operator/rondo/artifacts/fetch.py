"""`fetch` and `verify`: see that what a container reads is there, before the container starts.

A claim is mounted into the container, so there is nothing to copy; what is in a bucket is downloaded. All inputs are
looked at before anything is said, so that one message names everything that is wrong.
"""

from __future__ import annotations

from rondo.artifacts.config import Config
from rondo.artifacts.errors import ArtifactError
from rondo.artifacts.store import open_store


def provide_inputs(config: Config) -> None:
    """Provide every input.

    Raises:
        ArtifactError: At least one is missing or not the expected one; its code is that of the first.
    """
    failures: list[ArtifactError] = []
    for wanted in config.inputs:
        try:
            open_store(wanted.uri, config).provide(wanted)
        except ArtifactError as error:
            failures.append(error)
    if failures:
        raise ArtifactError("; ".join(map(str, failures)), failures[0].code)
