"""Workers: processes that share the shards of one fleet, with their leases, their assignment and their turns."""
