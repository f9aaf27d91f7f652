"""The picture of a cluster: its steps with their reasons, in lines, in recordings and on pages."""
