"""A saboteur's day: hostile inputs to everything that the service reads. `make fuzz` runs all of it.

    python -m tests.fuzz                        # the whole campaign; goes on where it was cut short
    python -m tests.fuzz packs config           # some targets
    python -m tests.fuzz packs --case 1234      # one input again, in this process, with its traceback

Inputs are drawn from a seed and an index: `seeds.toml` keeps the seeds, so a case that failed can be named.
`ALFA_EDGE_FUZZ_N` is the number of inputs for each target; 10,000 without it.
"""
