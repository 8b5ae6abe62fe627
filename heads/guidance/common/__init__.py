"""What several guidance models share; none of them is one."""
