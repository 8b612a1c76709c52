"""`make bench`: speed and memory as ratios in one run. Medians of several rounds, interleaved, because machines are noisy."""
