"""How components are upgraded: the steps of each strategy, as a kind of operation."""
