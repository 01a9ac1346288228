"""What is on the host, whose it is, and what may be removed."""
