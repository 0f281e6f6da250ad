"""What a person can do about a root cause, where the cluster's words allow to say it.

`rondo.core.causes` puts these words in parentheses behind a cause. A remedy is only given where it is sure to touch the
cause; otherwise the cause stands alone.
"""

from __future__ import annotations

import re
from typing import Final

_MISSING: Final = r"(?P<what>secret|configmap) \"(?P<name>[^\"]+)\" not found"
_IMAGE: Final = "ImagePull"
_CONFIG: Final = "ConfigError"
_UNSCHEDULABLE: Final = "Unschedulable"
_DENIED: Final = "AdmissionDenied"

_REMEDIES: Final[tuple[tuple[str, str, str], ...]] = (
    (_UNSCHEDULABLE, r"Insufficient (?P<what>[\w./-]+)", "lower resources.requests of {what}, or add a node"),
    (_UNSCHEDULABLE, r"untolerated taint", "add the taint to tolerations, or a node without it"),
    (_UNSCHEDULABLE, r"node affinity/selector", "no node has the labels of nodeSelector and affinity"),
    (_UNSCHEDULABLE, r"free ports", "another pod has the hostPort; leave it out"),
    (_UNSCHEDULABLE, r"were unschedulable", "kubectl uncordon the node, or add one"),
    (_UNSCHEDULABLE, r"persistentvolumeclaim \"(?P<what>[^\"]+)\" not found", "create claim {what}"),
    (_UNSCHEDULABLE, r"unbound immediate", "kubectl describe pvc says why the claim is not bound"),
    (_UNSCHEDULABLE, r"scheduling gates", "whoever set spec.schedulingGates has to remove them"),
    (_IMAGE, r"pull policy of Never", "load the image into the node, or change imagePullPolicy"),
    (_IMAGE, r"no such host", "the registry's name is wrong, or DNS does not know it"),
    (_IMAGE, r"(?i)unauthorized|authorization failed|403 Forbidden|pull access denied", "check imagePullSecrets"),
    (_IMAGE, r": not found|manifest unknown", "the registry has no such name or tag"),
    (_IMAGE, r"couldn't parse image name|invalid reference", "correct the image's name"),
    (_CONFIG, _MISSING, "create {what} {name}; the pod then starts"),
    (_CONFIG, r"couldn't find key (?P<what>\S+) in (?P<name>.+)", "add the key to it; the pod then starts"),
    (_CONFIG, r"runAsUser breaks non-root|will run as root", "set securityContext.runAsUser to another than 0"),
    (_CONFIG, r"exec: \"(?P<what>[^\"]+)\".*(no such file|not found)", "the image has no {what}: check command"),
    (_CONFIG, r"exec: \"(?P<what>[^\"]+)\".*permission denied", "{what} is not executable: check command"),
    ("Volume", _MISSING, "create {what} {name}; the pod then starts"),
    ("Volume", r"driver name (?P<what>\S+) not found", "install CSI driver {what} on the node"),
    ("Quota", r"must specify (?P<what>[\w.,-]+)", "set resources with {what}"),
    ("Quota", r"exceeded quota", "it starts when the quota has room"),
    (_DENIED, r"PodSecurity", "set securityContext and podTemplate as the namespace demands"),
    (_DENIED, r"serviceaccount \"(?P<what>[^\"]+)\" not found", "create {what}, or set serviceAccountName"),
    (_DENIED, r"no PriorityClass with name (?P<what>\S+)", "create it, or set priorityClassName"),
    (_DENIED, r"RuntimeClass \"(?P<what>[^\"]+)\" not found", "create it, or set runtimeClassName"),
    (_DENIED, r"(maximum|minimum) (?P<what>\w+) usage per", "change resources, or the namespace's LimitRange"),
    ("OOMKilled", r"", "raise it; retry.onOOM of a stage does so by itself"),
    ("DeadlineExceeded", r"", "raise timeout, if it needs longer"),
    ("Evicted", r"EmptyDir volume \"(?P<what>[^\"]+)\"", "raise the sizeLimit of volume {what}"),
    ("Evicted", r"ephemeral local storage usage exceeds", "raise resources.limits.ephemeral-storage"),
)  # fmt: skip
"""Reason, pattern of the message, remedy; the first that fits is taken."""

_COMPILED: Final = tuple((reason, re.compile(pattern), remedy) for reason, pattern, remedy in _REMEDIES)


def with_remedy(reason: str, message: str) -> str:
    """Add to a cause what can be done about it: `exceeded quota: a (it starts when the quota has room)`.

    Args:
        reason: Of the cause.
        message: Its words.
    """
    for wanted, pattern, remedy in _COMPILED:
        found = pattern.search(message) if wanted == reason else None
        if found is not None:
            return f"{message} ({remedy.format(**found.groupdict())})"
    return message
