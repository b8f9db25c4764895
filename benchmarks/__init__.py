"""What Evergreet costs: whole runs into local sinks (`python -m benchmarks`), and the command line (`cli.py`)."""
