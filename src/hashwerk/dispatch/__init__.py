"""Which machines run in which mode, now and for the next two days: pure, without sockets and without a clock."""
