"""What the rest of the package needs of files, terminals, processes and arguments."""
