"""What customers and monitors reach over HTTP: unsubscribe links and the health check."""
