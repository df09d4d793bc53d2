"""Headers, targets, merkle trees, transactions, templates and coinbases: Bitcoin's data, without I/O."""
