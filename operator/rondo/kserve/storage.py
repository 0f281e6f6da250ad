"""Where a model is: which of KServe's places Rondo reads."""

from __future__ import annotations

import re
from typing import Any, Final

from rondo.kserve.findings import Report

_READ: Final = re.compile(r"pvc://[^/]+/.+|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+")


def write_model(uri: str, path: str, report: Report, *, document: int = 0) -> dict[str, Any]:
    """Write where a model is; empty if that cannot be, which is noted.

    Args:
        uri: As KServe has it; empty if it does not say.
        path: Field path of it.
        report: Takes what differs.
        document: Index of the manifest that is written.
    """
    if not uri:
        words = "there is no storageUri: the deployment waits until spec.model says where the model is"
        report.note(path, words, place="spec", document=document)
        return {}
    if not _READ.fullmatch(uri):
        known = uri.startswith(("pvc://", "s3://"))
        rest = "name claim or bucket and a path in it" if known else "copy it to a claim or a bucket of S3"
        words = f"{uri} is not read: {rest}, and give that as spec.model.uri; the deployment waits until then"
        report.note(path, words, place="spec", document=document)
        return {}
    if uri.startswith("s3://"):
        words = (
            "KServe takes the keys from the Secret of the ServiceAccount; give spec.model.credentials, or the "
            "operator's own are taken"
        )
        report.note(path, words, place="spec.model", document=document)
    return {"uri": uri}
