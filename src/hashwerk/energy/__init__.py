"""Energy as data: series that know when they were published, sources, tariffs, registers. No sockets, no clock."""
