"""What decoders share, and the two that go around or stand in for others: `calibrated` and the stored `linear`."""
