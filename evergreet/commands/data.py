"""Data in: contacts, events, suppressions."""

import typer

app = typer.Typer()
