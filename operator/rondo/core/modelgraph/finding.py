"""Reasons of conditions and nodes that are the graphs' own; others come from their members and from pods."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a graph or a node of it is as it is."""

    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    INVALID_NAME = "InvalidName"
    TARGET_NOT_FOUND = "TargetNotFound"
    TARGET_NOT_ACCEPTED = "TargetNotAccepted"
    PORT_NOT_FOUND = "PortNotFound"
    ANSWERS = "Answers"
    EXTERNAL = "External"
    CREDENTIAL_UNUSABLE = "CredentialUnusable"
    NOT_OBSERVED = "NotObserved"
    NO_ENDPOINTS = "NoEndpoints"
    CHILDREN_READY = "ChildrenReady"
    ALL_ANSWER = "AllAnswer"
    PLANNING = "Planning"
    PLAN_REFUSED = "PlanRefused"
    ROUTER_STARTING = "RouterStarting"
    ROUTER_RELOADING = "RouterReloading"
    SERVING = "Serving"
    READY = "Ready"
    DEGRADED = "Degraded"
