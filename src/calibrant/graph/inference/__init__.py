"""What training, variables, choices made beforehand and other machines leave in a graph, taken out of it."""
