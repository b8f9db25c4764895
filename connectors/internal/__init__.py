"""Connectors to our own people and systems."""
