"""Messages: preview and test sends."""

import typer

app = typer.Typer()
