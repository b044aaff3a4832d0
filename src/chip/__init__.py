"""Small networks as C for microcontrollers.

Here a checkpoint becomes integers, which numpy runs as a reference, and those integers become C source.
"""
