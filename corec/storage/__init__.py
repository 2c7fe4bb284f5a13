"""Stores of results and offsets: `base` is the interface, `sqlite` the embedded store, `postgres` the one on a server."""
