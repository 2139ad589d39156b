"""Training a model, its state on disk, and checkpoints."""
