"""Folders of other tools -> bags and codes: one file per layout, one class of its name, see `interchange.layout`."""
