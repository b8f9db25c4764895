"""What is reached over HTTP: unsubscribe links, providers' webhooks, events that are posted, and the health check."""
