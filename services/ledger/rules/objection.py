"""What speaks against an act."""

from msgspec import Struct


class Objection(Struct, frozen=True):
    """A spot of the act and why its rule refuses it there. `retryable`: a later event can make it acceptable.

    `missing` names what it waits for, where that is a list.
    """

    pointer: str
    message: str
    retryable: bool = False
    missing: tuple[str, ...] = ()
