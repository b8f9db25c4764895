"""Message templates: one folder per message; `_base` holds the layout and its components."""
