"""The plan as a linear program: one module, and one page of the documentation, for each family of constraints."""
