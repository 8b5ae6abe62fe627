"""Encode medical images once, keep every latent code, train and compare guidance heads honestly."""
