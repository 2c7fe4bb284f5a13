"""A pytest plugin: property tests try few examples, for runs where each takes many times as long."""

from hypothesis import settings

MOST_EXAMPLES = 8


def pytest_collection_modifyitems(items):
    for item in items:
        test = getattr(item, "obj", None)
        wanted = getattr(test, "_hypothesis_internal_use_settings", None)
        if wanted and wanted.max_examples > MOST_EXAMPLES:
            function = getattr(test, "__func__", test)
            function._hypothesis_internal_use_settings = settings(wanted, max_examples=MOST_EXAMPLES, deadline=None)
