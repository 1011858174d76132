"""Reproducible figures: see docs/benchmarks.md for the contract."""
