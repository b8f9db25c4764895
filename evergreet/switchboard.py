"""The switchboard of a run: which providers of a route may be asked now."""

from collections.abc import Collection, Sequence

from evergreet.routing import Provider, Route


class Switchboard:
    """Knows which providers of one route are out, and why, and so who is asked next."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.faults: dict[str, str] = {}
        """By connector: the fault of ours that keeps it from sending."""

    @property
    def halted(self) -> str | None:
        """Say why nobody may be asked, where that is a fault of ours with every provider."""
        if not all(provider.name in self.faults for provider in self.route.providers):
            return None
        return "; ".join(self.faults.values())

    def may(self, provider: Provider) -> bool:
        """Whether it may be asked now."""
        return provider.name not in self.faults

    def choose(self, order: Sequence[Provider], refused: Collection[str]) -> Provider | None:
        """Return the first of these that may be asked and has not refused; None where there is none."""
        for provider in order:
            if provider.name not in refused and self.may(provider):
                return provider
        return None
