"""Rules of places as dated records, and what they mean for a site in an hour. Pure: no sockets, no clock."""
