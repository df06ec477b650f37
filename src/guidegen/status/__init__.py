"""Where a study stands: what is done, what runs, what failed."""
