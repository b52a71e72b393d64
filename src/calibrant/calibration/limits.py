"""How many processes and threads may be asked for: more than any machine has use for, fewer than end it."""

MOST_WORKERS = 128
MOST_THREADS = 512
