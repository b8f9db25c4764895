"""What providers tell of messages after they took them: stored once, then applied in batches."""
