"""Runs plugins: their event loop, their costs, and their own processes; `corec.plugins.manager` puts it together."""
