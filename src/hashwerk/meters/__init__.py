"""Meters, one file a kind: Modbus with register maps, SunSpec, Shelly, Tasmota, replayed files; and a Modbus twin."""
