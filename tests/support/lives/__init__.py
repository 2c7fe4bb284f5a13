"""Lives of a gateway in simulated time: drawn as data from a number (events.py), played (tests/support/gateway_life.py), checked against
what the sensors said (expected.py), and shrunk where one fails (shrink.py).  `python -m tests.support.lives --help` runs them.
"""
