"""A period that an answer is about. Pure."""

from datetime import datetime

from msgspec import Struct


class Period(Struct, frozen=True, kw_only=True):
    """From `since` on, and before `until`; None: without an end on that side."""

    since: datetime | None
    until: datetime | None

    def holds(self, time: datetime) -> bool:
        return (self.since is None or self.since <= time) and not self.is_over(time)

    def is_over(self, time: datetime) -> bool:
        """Whether it has ended by a time."""
        return self.until is not None and self.until <= time
