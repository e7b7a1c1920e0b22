"""Every view that this tool creates: the marts and the views over all accounts."""
