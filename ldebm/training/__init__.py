"""Training: the step, the loop, and the policies that decide when to validate and stop."""
