"""Leader election by a Lease: one process works, the others stand by.

The rules are client-go's: who holds the lease renews it every two seconds; another takes it over when it has not seen a
renewal for the lease's length on its own monotonic clock, so clocks need not agree. A leader that cannot renew in time
stops at once; all its status writes carry the object's version besides, so even a late one cannot do harm.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rondo.core.plan import Ref
from rondo.core.resources import LEASE
from rondo.kube.client import Client
from rondo.kube.errors import ApiError

LEASE_SECONDS: Final = 15
RENEW_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 2.0
RELEASE_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class LostError(Exception):
    """The lease could not be renewed in time: this process must not work any longer."""


@dataclass
class Elector:
    """One candidate for a Lease.

    Attributes:
        client: The API server.
        namespace: Namespace of the Lease.
        name: Its name.
        identity: Name of this process; unique among candidates.
        clock: Monotonic seconds.
    """

    client: Client
    namespace: str
    name: str
    identity: str
    clock: Callable[[], float] = time.monotonic
    leading: bool = False
    _seen: tuple[str, str] = ("", "")
    _seen_at: float = float("-inf")

    async def acquire(self) -> None:
        """Wait until this process leads."""
        log.info("standing by for lease %s/%s as %s", self.namespace, self.name, self.identity)
        while not await self._try():  # noqa: ASYNC110 - the Lease is changed by other processes
            await asyncio.sleep(RETRY_SECONDS)
        self.leading = True
        log.info("leading as %s", self.identity)

    async def hold(self) -> None:
        """Renew the lease until cancelled.

        Raises:
            LostError: It was lost.
        """
        renewed = self.clock()
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if await self._try_within(RENEW_SECONDS - (self.clock() - renewed)):
                renewed = self.clock()
            elif self.clock() - renewed > RENEW_SECONDS or self._seen[0] not in {"", self.identity}:
                self.leading = False
                raise LostError(f"lease {self.namespace}/{self.name} {self._loss()}")

    async def release(self) -> None:
        """Give the lease back, so that another process need not wait for its end."""
        self.leading = False
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                lease = await self.client.get(self._ref)
                if lease is not None and lease["spec"].get("holderIdentity") == self.identity:
                    await self.client.replace(self._ref, {**lease, "spec": self._spec(lease, holder="", seconds=1)})
        except (ApiError, TimeoutError) as error:
            log.info("lease was not released: %r", error)

    async def _try_within(self, seconds: float) -> bool:
        """Try, but give up in time: a dead connection answers only after the session's timeout, twice the lease."""
        try:
            async with asyncio.timeout(seconds):
                return await self._try()
        except TimeoutError:
            return False

    async def _try(self) -> bool:
        """Take or renew the lease if that is allowed now."""
        try:
            lease = await self.client.get(self._ref)
            if lease is None:
                await self.client.create(self._ref, self._new())
                return True
            if not self._may_take(lease):
                return False
            await self.client.replace(self._ref, {**lease, "spec": self._spec(lease, holder=self.identity)})
        except ApiError as error:
            log.info("lease %s/%s: %s", self.namespace, self.name, error)
            return False
        return True

    def _loss(self) -> str:
        holder = self._seen[0]
        if holder in {"", self.identity}:
            return f"could not be renewed for {RENEW_SECONDS:.0f} s"
        return f"is held by {holder}"

    def _may_take(self, lease: dict[str, Any]) -> bool:
        spec = lease["spec"]
        record = (spec.get("holderIdentity") or "", spec.get("renewTime") or "")
        if record != self._seen:
            self._seen, self._seen_at = record, self.clock()
        free = record[0] in {"", self.identity}
        return free or self.clock() - self._seen_at > spec.get("leaseDurationSeconds", LEASE_SECONDS)

    @property
    def _ref(self) -> Ref:
        return Ref(LEASE, self.namespace, self.name)

    def _new(self) -> dict[str, Any]:
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": self._spec({"spec": {}}, holder=self.identity),
        }

    def _spec(self, lease: dict[str, Any], *, holder: str, seconds: int = LEASE_SECONDS) -> dict[str, Any]:
        before, now = lease["spec"], self.client.clock.now().isoformat(timespec="microseconds").replace("+00:00", "Z")
        same = before.get("holderIdentity") == holder
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": seconds,
            "renewTime": now,
            "acquireTime": before.get("acquireTime", now) if same else now,
            "leaseTransitions": before.get("leaseTransitions", 0) + (not same),
        }
