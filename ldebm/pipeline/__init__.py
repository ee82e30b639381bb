"""The pipeline: steps that decide by themselves whether there is work, and the list of them."""
