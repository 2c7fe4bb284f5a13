"""Tests of a CoreC that was installed: they ship with the source and need nothing of it.

`make wheels-test` runs them against every wheel, `make test` against the checkout.
"""
