-- Part (train, val or test) of each case in each fold of each split; origin says how the split was made.
CREATE OR REPLACE VIEW splits AS
SELECT DISTINCT cohort, split, fold, case_id, part, origin FROM shown.splits WHERE is_live(added_at, removed_at);
