"""Fit the LSTM: the loop, its processes, its checkpoints."""
