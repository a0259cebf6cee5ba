"""The origins of web pages, as an operator lists them and browsers write them."""

import re

_ORIGIN = re.compile(
    r"https?://(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])(?::[1-9][0-9]{0,4})?"
)
_PORT_SAID_TWICE = re.compile(r"http://.*:80|https://.*:443")


def origins(text: str) -> frozenset[str]:
    """The origins that a comma-separated list names. Raises ValueError, naming the one that is none."""
    found = [each.strip() for each in text.split(",") if each.strip()]
    for each in found:
        if not _ORIGIN.fullmatch(each) or _PORT_SAID_TWICE.fullmatch(each):
            raise ValueError(
                f"{each!r} is not an origin as browsers write it: https://app.example or http://localhost:3000, in"
                " lower case, without a path, without the port that its scheme has anyway; * and null are not taken"
            )
    return frozenset(found)
