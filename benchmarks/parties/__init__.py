"""What the benchmarks compare with each other; no benchmarks themselves."""
