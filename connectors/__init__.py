"""Adapters to outside systems: one file is one provider."""
