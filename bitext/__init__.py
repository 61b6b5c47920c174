"""The words every part of bitext shares: types, errors, and text in and out.

This package imports nothing of the others and no torch, so that ``bitext --help`` answers at once.
"""

__version__ = "0.1.0"
