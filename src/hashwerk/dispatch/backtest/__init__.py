"""Backtests: real history replayed through the same policies and limits that steer a site."""
