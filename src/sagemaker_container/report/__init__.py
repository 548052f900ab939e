"""The report of a training: a page, its charts and its numbers."""
