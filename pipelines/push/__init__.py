"""The command `push`: safe changes back to Insightly."""
