"""Evaluation: data sets found by looking, the paper's metrics, and a report."""
