"""What the benchmarks share: peers from Debian's packages, a namespace to run them in, a CPU meter, and the table."""
