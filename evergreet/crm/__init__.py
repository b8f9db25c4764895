"""Contacts from CRMs, page by page, and what is written back to them."""
