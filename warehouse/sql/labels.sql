-- Classes of each target in their fixed order: probabilities in `predictions` are in the order of class_index, which is
-- that of the grades of an ordinal target. kind: classes, ordinal, multilabel, or, with one row and no class, value or
-- survival, whose unit stands in unit.
CREATE OR REPLACE VIEW targets AS
SELECT DISTINCT cohort, target, class_index, class, coalesce(nullif(kind, ''), 'classes') AS kind, unit FROM shown.targets WHERE is_live(added_at, removed_at);

-- One row per case and target that has a label (multilabel: and class). An unlabelled case has no row here and is kept
-- all the same. By the target's kind: class; value; time, and event, whether it ended in one; class and value, 1 or 0:
--   SELECT target, count(*) AS n, count(*) FILTER (event) AS events, median(coalesce(time, value)) FROM labels GROUP BY ALL
CREATE OR REPLACE VIEW labels AS
SELECT DISTINCT cohort, case_id, target, class, value, time, event FROM shown.labels WHERE is_live(added_at, removed_at);
