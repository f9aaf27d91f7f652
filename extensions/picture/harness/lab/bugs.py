"""The bugs of lab 6 in the lab: how few acts of a reader are known to break a rule with each.

The acts themselves are among the keys of the course.
"""

from __future__ import annotations

FEWEST_ACTS = {
    1: 2,
    2: 0,
    3: 2,
    4: 0,
    5: 0,
    6: 0,
    7: 5,
    8: 3,
    9: 1,
    10: 1,
    11: 1,
    12: 3,
    13: 1,
    14: 2,
    15: 2,
    16: 0,
    17: 2,
    18: 1,
    19: 4,
    20: 5,
    21: 5,
    22: 5,
    23: 2,
    24: 4,
}
