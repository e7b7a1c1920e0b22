"""dlt resources: one module for each way of reading an entity."""
