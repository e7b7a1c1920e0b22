"""The key that tests hash with."""

HASH_KEY = "a-long-random-text-of-the-test"
