"""The money of a mine: what a hash earns, what payout schemes owe, and whether a pool paid it. Pure: no I/O, no clock."""
