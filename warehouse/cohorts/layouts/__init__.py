"""How cohorts lie in files, one file each: a class of that name, whose fields are the options of `cohort add`."""
