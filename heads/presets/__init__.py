"""Hyper-parameters of publications, a file each; the models that they are for take them in (`PRESETS`)."""
