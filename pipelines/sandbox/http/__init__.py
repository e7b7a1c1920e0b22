"""The sandbox's web server: sockets, limits and faults."""
