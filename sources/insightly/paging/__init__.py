"""Reading a list that changes while it is read. Pure logic: no network, no clock, no dlt."""
