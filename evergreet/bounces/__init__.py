"""Bounces and complaints that come back as mails: read from a mailbox, compared with the ledger, stored once."""
