"""The ledger: audit, workers, reconcile, hold, retry, serve."""

import typer

app = typer.Typer()
