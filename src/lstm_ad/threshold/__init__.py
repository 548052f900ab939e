"""From scores to decisions: how rare a score is, and where alarms begin."""
