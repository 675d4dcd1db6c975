"""The project's fixtures are the users' own: they come from the pytest plugin `headrace.testing.plugin`."""

import signal

pytest_plugins = ["pytester"]


def pytest_configure() -> None:
    # A shell lets what runs in its background ignore Ctrl-C, and so would every command the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
