"""Stages and moves."""

import typer

app = typer.Typer()
