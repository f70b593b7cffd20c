"""Who holds a GPU by the word of a batch system or of Docker, whatever he uses of it."""
