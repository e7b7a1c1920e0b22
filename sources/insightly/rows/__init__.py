"""JSON records to typed Arrow tables. Pure logic."""
