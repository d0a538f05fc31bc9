"""What Cloud PCs cost in time, memory and state, each beside a floor that is measured in the same run.

One script a question, `python -m benchmarks.<name>`; docs/benchmarks.md has the method and the figures.
"""
