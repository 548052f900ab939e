"""What operators see of a running server: counts of all workers, and the drift."""
