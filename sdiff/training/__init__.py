"""Training, resumable training state, and checkpoints."""
