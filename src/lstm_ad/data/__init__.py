"""The rows of a job: read once, divided, checked, labelled."""
