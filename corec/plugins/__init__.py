"""What runs plugins: their loop, their bill, and processes of their own; `corec.plugins.manager` puts it together."""
