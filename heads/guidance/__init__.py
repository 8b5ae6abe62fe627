"""Guidance models G: z_I -> z_S, one file each, and the controls that they must beat."""
