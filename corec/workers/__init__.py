"""Several processes share the shards of one fleet: who lives, who has what, and the turns of each."""
