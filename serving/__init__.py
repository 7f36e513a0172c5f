"""From a SavedModel directory to an answered request: store, server and client."""
