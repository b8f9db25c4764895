"""Others at the same work: packages from PyPI, each in a virtual environment of its own."""
