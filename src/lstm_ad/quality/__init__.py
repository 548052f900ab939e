"""A closer look at a fitted detector, and the verdict on it."""
