"""dlt resources: one module per way of reading an entity, and what commands use of them."""
