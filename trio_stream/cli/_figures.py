"""Figures for people: tokens, durations, dollars.

What belongs here: how numbers are written wherever a command shows them. What does not: what they are figures of.
"""

from __future__ import annotations


def count(number: float) -> str:
    """Write a number of tokens in a short form."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            size = number / limit
            return f"{size:.1f}{unit}" if size < 10 else f"{size:.0f}{unit}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """Write a duration in a short form."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} m"
    return f"{seconds / 3600:.1f} h"


def dollars(amount: float) -> str:
    """Write an amount of money, with as many digits as a small one needs."""
    if amount >= 0.1 or not amount:
        return f"${amount:.2f}"
    return f"${amount:.6f}".rstrip("0").rstrip(".")
