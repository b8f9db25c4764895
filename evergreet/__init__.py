"""Evergreet: lifecycle marketing on Prefect, with a send ledger that balances."""

__version__ = "0.1.0"
