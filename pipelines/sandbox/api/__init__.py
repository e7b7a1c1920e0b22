"""What the sandbox answers to each request."""
