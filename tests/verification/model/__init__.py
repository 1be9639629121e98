"""An exhaustive check of the lease: what tasks do with it, in every interleaving, in a world that fails."""
