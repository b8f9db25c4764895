"""Shops and tills that tell what customers do."""
