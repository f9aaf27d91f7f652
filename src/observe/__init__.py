"""The steps of the core as lines that a person reads, each with its reason. Pure."""
