"""From reconstructions to scores: errors, their Gaussian, the detector, events."""
