"""Training: the step, the policies that decide when to validate and stop, checkpoints, and the loop around them."""
