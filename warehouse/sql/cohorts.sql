-- One row per cohort: where it came from, and how many cases and images it has. first_name differs where it was renamed.
CREATE OR REPLACE VIEW cohorts AS
SELECT
    cohort,
    any_value(first_name) AS first_name,
    arg_max(layout, added_at) AS layout,
    arg_max(source, added_at) AS source,
    bool_or(pseudonymized) AS pseudonymized,
    arg_max(note, added_at) AS note,
    (SELECT count(DISTINCT case_id) FROM shown.cases c
     WHERE c.cohort = r.cohort AND is_live(c.added_at, c.removed_at)) AS cases,
    (SELECT count(DISTINCT (case_id, image_id, modality)) FROM shown.images i
     WHERE i.cohort = r.cohort AND is_live(i.added_at, i.removed_at)) AS images
FROM shown.cohorts r
WHERE is_live(added_at, removed_at)
GROUP BY cohort;
