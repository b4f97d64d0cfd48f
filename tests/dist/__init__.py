"""What people install, and what they install it into: the built wheel, and every Python that is supported.

What belongs here: building, installing, and running the tests against that. What does not: tests.
"""
