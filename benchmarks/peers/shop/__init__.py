"""A Django project that does the benchmark's work with a package from PyPI; it runs in that package's environment."""
