"""A line: parts in, exactly one verdict for each."""
