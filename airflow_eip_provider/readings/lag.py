"""How far AWS's answers may lag behind what has happened."""

from __future__ import annotations

# The reads of EC2 and EMR are eventually consistent ("Eventual consistency in the Amazon EC2 API"); AWS documents no
# bound. Within this time an answer may still describe the state before a change.
READS_LAG_SECONDS = 60
# Two answers that are at least this far apart, and say the same, count as more than one.
SECOND_LOOK_SECONDS = 10
