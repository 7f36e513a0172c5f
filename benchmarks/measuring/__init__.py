"""What the benchmarks share: rivals that take turns, and claims with limits."""
