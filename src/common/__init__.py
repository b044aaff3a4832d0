"""Infrastructure for every other module: errors, files, console, signals, devices, process groups.

Imports nothing else of this package.
"""
