"""Connectors to CRMs: their contacts are read, and what Evergreet knows is written back."""
