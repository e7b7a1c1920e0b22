"""One module for each command: settings and a target in, a report out."""
