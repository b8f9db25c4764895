"""Contacts that turn out to be one person: they are merged, and a merge can be shown and undone (ADR 0013)."""
