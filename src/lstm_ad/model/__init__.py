"""The LSTM: how series are divided, scaled, read and reconstructed."""
