"""What the runs left, as a table and figures."""
