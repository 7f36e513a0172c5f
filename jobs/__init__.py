"""The command line and the long-running work that strings the other packages together."""
