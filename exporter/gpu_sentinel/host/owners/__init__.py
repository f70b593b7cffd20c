"""From a pid of the machine to its owner."""
