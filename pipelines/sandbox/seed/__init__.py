"""The data that the sandbox starts with, and how it changes day by day."""
