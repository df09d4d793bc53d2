"""Work from upstream pools: connections, jobs, the fate of every share, and who works for whom."""
