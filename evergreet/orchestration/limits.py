"""A global rate over all workers: a Prefect global concurrency limit with the name of the connector."""

from contextlib import suppress

from prefect.client.orchestration import PrefectClient, get_client
from prefect.concurrency.sync import rate_limit
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from evergreet.contracts import RateLimiter
from evergreet.errors import ConfigurationError
from evergreet.rates import Unlimited
from evergreet.sending import connectors_in_use, rates_in_use


class PrefectLimit:
    """Takes slots of a Prefect limit, which come back at its rate; one Prefect server paces all workers."""

    def __init__(self, name: str, slots: int) -> None:
        self.name = name
        self.slots = slots

    def acquire(self, count: int) -> None:
        """Block until `count` messages may be sent; more than the limit holds are taken in parts."""
        while count > 0:
            part = min(count, self.slots)
            # strict: a limit that was deleted meanwhile is an error, not permission to send at any rate
            rate_limit(self.name, occupy=part, strict=True)
            count -= part


async def limiters() -> dict[str, RateLimiter]:
    """Return the limiters of the connectors in use, by name."""
    return {one.name: await limiter_of(one.name) for named in connectors_in_use().values() for one in named}


async def ensure_limits(client: PrefectClient) -> None:
    """Create the Prefect limits that EVERGREET_RATES asks for, or bring them up to date."""
    for name, rate in rates_in_use().items():
        with suppress(ObjectAlreadyExists):  # somebody else does so at this moment
            if rate.per_second is not None and rate.most_together is not None:
                await client.upsert_global_concurrency_limit_by_name(name, rate.most_together, rate.per_second)


async def limiter_of(connector: str) -> RateLimiter:
    """Return the limiter for a connector: the Prefect limit of its name, which somebody may have changed there.

    Where the server has none, EVERGREET_RATES says whether it is created.
    """
    async with get_client() as client:
        try:
            limit = await client.read_global_concurrency_limit_by_name(connector)
        except ObjectNotFound:
            rate = rates_in_use().get(connector)
            if rate is None or rate.most_together is None:
                return Unlimited()
            await ensure_limits(client)
            return PrefectLimit(connector, rate.most_together)
    if not limit.active:
        return Unlimited()
    if not limit.slot_decay_per_second or limit.limit < 1:
        raise ConfigurationError(
            f"The Prefect limit {connector!r} has {limit.limit} slots and gives back {limit.slot_decay_per_second} a "
            f"second, so nothing could be sent. Set a rate: prefect gcl update {connector} --limit 100 "
            "--slot-decay-per-second 10"
        )
    return PrefectLimit(connector, limit.limit)
