"""Nodes: where templates come from and blocks go to."""
