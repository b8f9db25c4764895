"""The demo: a sample shop, one campaign through Prefect, the balance, and the mails to look at."""
