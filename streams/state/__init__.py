"""State that outlives a worker: checkpoints, and join's store on disk."""
