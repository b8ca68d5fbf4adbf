"""What a case is, and what becomes of its results."""

import dataclasses
import statistics
from collections.abc import Callable

from clients import PENSTOCK


@dataclasses.dataclass
class Row:
    """One of the table. goal: what Penstock is held to, met: whether it is; None: no goal."""
    what: str
    argo: str
    penstock: str
    goal: str = ""
    met: bool | None = None
    rounds: int = 0


@dataclasses.dataclass
class Case:
    """run(stage, contender) measures one contender once and returns numbers; rows(results) makes
    the table's rows of {contender: [numbers of each round]}."""
    name: str
    run: Callable
    rows: Callable
    contenders: tuple = ("argo", "penstock")
    rounds: int = 3
    kafka: bool = False  # shares a broker between the runs


def values(results, contender, key):
    return [one[key] for one in results[contender]]


def median(results, contender, key):
    return statistics.median(values(results, contender, key))


def number(value, digits=0):
    return f"{value:,.{digits}f}"


def spread(numbers, digits=0):
    """The median, and from where to where when that says more."""
    middle, least, most = statistics.median(numbers), min(numbers), max(numbers)
    text = number(middle, digits)
    return text if least == most else \
        f"{text} ({number(least, digits)} to {number(most, digits)})"


def all_are(results, key, value=0, contenders=PENSTOCK):
    return all(one[key] == value for name in contenders for one in results.get(name, []))


def ratio(results, a, b, key):
    """Of a to b within each round; the median of them."""
    return statistics.median(x / y for x, y in zip(values(results, a, key),
                                                   values(results, b, key)))


def part(value):
    """A ratio, as exact as it is worth."""
    return number(value, 0 if value >= 10 else 1)
