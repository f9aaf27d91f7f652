"""Virtual time, chance, the network, and the plan of a schedule."""
