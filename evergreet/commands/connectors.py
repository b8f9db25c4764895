"""Connectors: list and check."""

import typer

app = typer.Typer()
