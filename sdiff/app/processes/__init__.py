"""Long work in other processes: opening data sets and training. Runs there import this package only."""
