"""Stored runs -> answers: effects, comparisons, the champion."""
