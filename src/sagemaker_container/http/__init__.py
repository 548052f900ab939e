"""The server: requests, answers, and the worker that handles connections."""
