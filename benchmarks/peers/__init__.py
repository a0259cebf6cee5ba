"""What a user would pick instead, run as its own documentation says to run it, and at its best.

Each module measures one peer, by up to three context managers:

    single(dsn, rows)             one event a transaction
    batches(dsn, rows)            BATCH_EVENTS events a transaction
    catchup(dsn, rows, events)    a read model in PostgreSQL, from the beginning of a log of so many events

`dsn` is the URL of an empty database of the embedded PostgreSQL, for this peer alone; `rows` is the file that
`rows.write` has made, once for all. A context manager installs the peer's tables, starts its processes, and gives a
`Run`; keyword arguments (`connections`, ...) have the values for which the peer was best (benchmarks/README.md says
what was tried). In the end it stops what it started; the database is the caller's to drop.

`benchmarks.limits` has the same shape for the limits: pgbench, COPY, the empty handler, sha256.
"""

from collections.abc import Awaitable, Callable

BATCH_EVENTS = 100

Run = Callable[[float], Awaitable[float]]
"""Goes on for about so many seconds, and gives the events a second that are durable (or, of `catchup`, that the read
model durably has) in the end. The seconds count from the first event to the last commit: what is prepared before does
not count. Runs follow each other on the same, growing tables, as often as is asked; a catch-up begins anew each time,
and ends early where it has come to the end. Raises PeerError if the rows in the peer's tables do not agree."""


class Missing(Exception):
    """The peer cannot be run here, since something is not installed; the text says what, and how to install it."""


class PeerError(Exception):
    """A peer has not done what was measured, or its database is not durable; the text says what was found."""
