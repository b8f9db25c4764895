"""Events and people as Segment's clients post them, stored by the rules of an import."""
