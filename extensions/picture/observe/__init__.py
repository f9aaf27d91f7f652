"""The steps of the core as readable lines, each with its reason. Pure."""
