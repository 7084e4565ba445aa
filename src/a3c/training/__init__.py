"""A run: settings resolved, the loop, what it measures and what it leaves in its directory."""
