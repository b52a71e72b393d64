"""Reading of calibration data as the shell commands do it."""
