"""Where rows live: the destination, its dataset, and what it knows of the source's state."""
