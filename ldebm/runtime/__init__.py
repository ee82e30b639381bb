"""What a run stands on: device, checkpoints, tracking, provenance."""
