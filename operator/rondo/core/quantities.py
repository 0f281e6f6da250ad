"""Kubernetes' quantities, such as `500m`, `2`, `16Gi`.

Source of the format: `apimachinery/pkg/api/resource`, Quantity. The official client has a parser too, but importing it
costs 45 MB.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

_FACTORS: Final = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)")
_MEBI: Final = 2**20


def parse_quantity(text: str) -> Decimal:
    """Read a quantity.

    Raises:
        ValueError: The text is not one.
    """
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a quantity such as 500Mi or 16Gi")
    number, exponent, suffix = found.groups()
    return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _FACTORS[suffix or ""])


def format_memory(amount: Decimal) -> str:
    """Write an amount of bytes in whole mebibytes, rounded up."""
    return f"{(amount / _MEBI).to_integral_value(ROUND_CEILING)}Mi"
