"""What the pipeline is exposed to on purpose."""
