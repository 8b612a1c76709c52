"""Plain bookkeeping inside one process, without I/O: what a store keeps in memory, whatever it keeps on a disk."""
