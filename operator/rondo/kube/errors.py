"""Errors of the Kubernetes API, translated once, at the edge."""

from __future__ import annotations

from typing import Any, Final

MESSAGE_LIMIT: Final = 1024


class ApiError(Exception):
    """The API server refused a request, or could not be reached.

    Attributes:
        code: HTTP status; 0 if no answer came.
        reason: Reason of the API's Status object, such as `Forbidden`; `Unreachable` if no answer came.
        message: What the API server said, bounded to 1,024 characters.
        retry_after: Seconds after which the API server wants to be asked again, if it said so.
    """

    def __init__(self, code: int, reason: str, message: str, retry_after: float | None = None) -> None:
        self.code = code
        self.reason = reason
        self.message = message[:MESSAGE_LIMIT]
        self.retry_after = retry_after
        super().__init__(f"{code} {reason}: {self.message}")

    @property
    def not_found(self) -> bool:
        """Whether the object does not exist."""
        return self.code == 404

    @property
    def already_exists(self) -> bool:
        """Whether a creation met an object of that name."""
        return self.code == 409 and self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        """Whether the object has changed since it was read, or another field manager owns a field."""
        return self.code == 409 and self.reason != "AlreadyExists"

    @property
    def gone(self) -> bool:
        """Whether a watch asked for a version that is compacted."""
        return self.code == 410


def from_status(code: int, status: Any, retry_after: str | None = None) -> ApiError:
    """Translate a Status object of the API.

    Args:
        code: HTTP status.
        status: The decoded body, of any shape: proxies answer too.
        retry_after: The header of that name.
    """
    fields = status if isinstance(status, dict) else {}
    reason = str(fields.get("reason") or f"HTTP{code}")
    message = str(fields.get("message") or (status if isinstance(status, str) and status else reason))
    code = fields["code"] if isinstance(fields.get("code"), int) else code
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return ApiError(code, reason, message, seconds)


def unreachable(error: BaseException) -> ApiError:
    """Translate a failure of the connection."""
    return ApiError(0, "Unreachable", str(error) or type(error).__name__)
