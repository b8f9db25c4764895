"""Campaigns: one file is one campaign is one Prefect flow; files that begin with `_` are operational flows."""
