"""HTTP: the only folder that sends a request."""
