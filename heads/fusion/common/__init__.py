"""What fusions share: their contract, the learnt ones, and a fusion with its decoders as one decoder."""
