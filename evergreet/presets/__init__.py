"""Lifecycles that come along; a company writes its own the same way."""
