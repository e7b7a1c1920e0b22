"""Settings: reading them, checking them, and the accounts they describe."""
