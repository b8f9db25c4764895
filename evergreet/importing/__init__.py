"""Data in: contacts, events and suppressions from files, streamed, in batches, idempotent and resumable.

`reading` gives records, `mapping` says which column is what, `contacts`, `events` and `suppressions` turn
records into rows and store them, `run` drives one import and counts. There is no saved place to go on from:
every row knows whether it is stored already, so the same command after a crash continues.
"""
