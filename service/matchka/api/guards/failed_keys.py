"""Back-off for repeated requests without a valid key: refusals are delayed and logged."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final

from matchka.errors import shorten
from matchka.runtime.processes.moments import Moments, OwnMoments

FREE: Final = 10  # refusals in a row that are not slowed: a wrong key is mostly a mistake
INTERVAL_S: Final = 0.2  # between two refusals of one address from then on
LONGEST_S: Final = 5.0  # that one refusal waits
MOST_ADDRESSES: Final = 4096  # remembered; the one that was refused longest ago is forgotten first
LOG_EVERY_S: Final = 60.0  # for one address
IPV6_NETWORK_BITS: Final = 64  # what one subscriber gets
LOGGER: Final = logging.getLogger("matchka.api.guards.auth")


@dataclass
class _Refused:
    logged_at: float = float("-inf")
    since: int = 0  # refusals that are not in the log yet


class FailedKeys:
    """Counts refusals by address. Only the refusals wait: whoever has a key is served at once, from any address.

    Args:
        clock: monotonic seconds.
        dues: when the last refusal of each network went out, or will; shared where several processes count together.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, dues: Moments | None = None) -> None:
        self._clock = clock
        self._dues = dues or OwnMoments(MOST_ADDRESSES)
        self._refused: OrderedDict[str, _Refused] = OrderedDict()

    def note(self, address: str) -> float:
        """Count one refusal.

        Args:
            address: of the caller; the addresses of one IPv6 network of 64 bits count as one.

        Returns: seconds that the refusal should wait, 0 to 5.
        """
        now, network = self._clock(), network_of(address)
        refused = self._refused.setdefault(network, _Refused())
        self._refused.move_to_end(network)
        if len(self._refused) > MOST_ADDRESSES:
            self._refused.popitem(last=False)

        def next_due(last: float) -> float:
            return min(max(last, now - FREE * INTERVAL_S) + INTERVAL_S, now + LONGEST_S)

        due = next_due(self._dues.change(network, next_due))
        refused.since += 1
        if now - refused.logged_at >= LOG_EVERY_S:
            LOGGER.warning("%d requests without a valid key from %s", refused.since, network)
            refused.logged_at, refused.since = now, 0
        return max(0.0, due - now)


def network_of(address: str) -> str:
    """What counts as one caller: an IPv4 address, also where it is written as an IPv6 address, or 64 bits of IPv6.

    >>> network_of("::ffff:10.0.0.5"), network_of("2001:db8::5")
    ('10.0.0.5', '2001:db8::/64')
    """
    try:
        found = ip_address(address)
    except ValueError:
        return shorten(address)  # what a proxy sent
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped  # a listener of both versions shows IPv4 callers so
    return str(mapped) if mapped is not None else str(ip_network((found, IPV6_NETWORK_BITS), strict=False))
