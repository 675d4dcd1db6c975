"""The project's fixtures are the users' own: they come from the pytest plugin `headrace.testing.plugin`."""

pytest_plugins = ["pytester"]
