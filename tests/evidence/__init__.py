"""How often a verdict is wrong: simulated cohorts of known truth, through the heads and verdicts that users get."""
