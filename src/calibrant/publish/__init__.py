"""Results appear all at once: made under a temporary name, flushed to disk, and then moved in one step."""
