"""Experiments of several trainings: seed studies, comparisons, ensembles, and the reports of finished runs.

May import everything below `main.py` and `cli.py`, but not `serving`.
"""
