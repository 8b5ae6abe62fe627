-- Classes of each target in their fixed order: probabilities in `predictions` are in the order of class_index.
CREATE OR REPLACE VIEW targets AS
SELECT DISTINCT cohort, target, class_index, class FROM base.targets WHERE is_live(added_at, removed_at);

-- One row per case and target that has a label. An unlabelled case has no row here and is kept all the same.
CREATE OR REPLACE VIEW labels AS
SELECT DISTINCT cohort, case_id, target, class FROM base.labels WHERE is_live(added_at, removed_at);
