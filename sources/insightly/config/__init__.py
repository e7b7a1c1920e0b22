"""Settings: reads and checks them, and finds the accounts that they configure."""
