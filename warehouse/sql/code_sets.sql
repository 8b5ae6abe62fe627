-- One row per code set. kind: 'bag' (patch codes of slides) or 'codes' (one vector per image); d: code dimensions;
-- trained_on: none, unknown, or COHORT/SPLIT/FOLD, the only fold that these codes may feed.
CREATE OR REPLACE VIEW code_sets AS
SELECT
    code_set_name(cohort, modality, encoder, encoder_digest) AS name,
    cohort,
    modality,
    encoder,
    encoder_digest,
    kind,
    any_value(shape[-1]) AS d,
    count(DISTINCT case_id) AS cases,
    count(*) AS artifacts,
    trained_on,
    string_agg(DISTINCT dtype, ', ') AS dtype
FROM shown.log
WHERE kind IN ('bag', 'codes') AND is_live(added_at, removed_at)
GROUP BY cohort, modality, encoder, encoder_digest, kind, trained_on;
