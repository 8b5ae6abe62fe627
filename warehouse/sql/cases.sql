-- One row per case: the modalities that it has images of, those that it has codes or bags of, and its labels.
-- modalities and coded are sorted lists, so `WHERE list_contains(coded, 'histology')` works.
CREATE OR REPLACE VIEW cases AS
WITH known AS (
    SELECT cohort, case_id FROM shown.cases WHERE is_live(added_at, removed_at)
    UNION
    SELECT cohort, case_id FROM shown.log WHERE kind IN ('bag', 'codes') AND is_live(added_at, removed_at)
),
imaged AS (
    SELECT cohort, case_id, list_sort(list(DISTINCT modality)) AS modalities, count(DISTINCT (image_id, modality)) AS images
    FROM shown.images WHERE is_live(added_at, removed_at) GROUP BY ALL
),
coded AS (
    SELECT
        cohort, case_id, list_sort(list(DISTINCT modality)) AS coded,
        count(*) FILTER (kind = 'codes') AS codes, count(*) FILTER (kind = 'bag') AS bags
    FROM shown.log WHERE kind IN ('bag', 'codes') AND is_live(added_at, removed_at) GROUP BY ALL
),
labelled AS (
    SELECT cohort, case_id, count(DISTINCT target) AS labels
    FROM shown.labels WHERE (class <> '' OR value IS NOT NULL OR time IS NOT NULL) AND is_live(added_at, removed_at) GROUP BY ALL
)
SELECT
    cohort,
    case_id,
    coalesce(modalities, []) AS modalities,
    coalesce(coded, []) AS coded,
    coalesce(images, 0) AS images,
    coalesce(codes, 0) AS codes,
    coalesce(bags, 0) AS bags,
    coalesce(labels, 0) AS labels
FROM known
LEFT JOIN imaged USING (cohort, case_id)
LEFT JOIN coded USING (cohort, case_id)
LEFT JOIN labelled USING (cohort, case_id);
