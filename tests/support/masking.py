"""The key for hashed fields in tests."""

HASH_KEY = "a-long-random-text-of-the-test"
