"""Maintenance of the template: the demo, the locks, the generated docs."""
