"""The running mine's energy: signals and meters in, a plan every few minutes, set-points to the fleet, orders carried out.

`EnergyService` is the whole of it. Pages and API read `EnergyService.view` and `EnergyService.history`.
"""
