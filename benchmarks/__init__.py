"""Benchmarks: labdock compared with the image that most guides build. `make bench` runs them."""
