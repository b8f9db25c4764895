"""Campaigns: list, launch, pause, run, preview who gets what."""

import typer

app = typer.Typer()
