"""What runs plugins: their loop, their bill, and processes of their own; `corec.plugin_manager` puts it together."""
