"""What requests must hold and what answers do, a file a resource.

Size limits are the operator's: see limits.py.
"""
