"""A running node: readings from the journal through the engine into the store."""
