"""The demo: all campaigns over two years of a sample shop, the funnel, the balances, and the mails to look at."""
