"""Policies: alternatives behind one port, all of which keep the hard limits."""
