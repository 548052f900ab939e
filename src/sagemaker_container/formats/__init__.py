"""Text in and out: CSV, JSON, and what messages are made of."""
