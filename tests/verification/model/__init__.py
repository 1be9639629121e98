"""An exhaustive check of the lease: tasks in every interleaving, in a world that fails."""
