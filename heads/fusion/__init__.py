"""Ways to combine the two codes of rows S+I and G(I)+I, one per file; the contract is in common/protocol.py."""
