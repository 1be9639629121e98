"""An exhaustive check of the lock: the programs that tasks run, in every interleaving, in a world that fails."""
