"""The paper's tables, each from one call."""
