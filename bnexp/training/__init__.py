"""Training: the loop, checkpoints and the life of one run."""
