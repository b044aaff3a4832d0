"""What every other part of the program uses: errors, files, the console, signals, devices, processes.

Imports nothing else of this package.
"""
