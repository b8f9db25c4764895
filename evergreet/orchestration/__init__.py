"""Evergreet on Prefect: what flow files call. With `flows`, the only place that imports Prefect."""
