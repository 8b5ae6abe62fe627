-- Where the codes of a set lie in a plane, a row per case: made by `guidestore explore COHORT --umap`.
CREATE OR REPLACE VIEW maps AS
SELECT
    code_set_name(cohort, modality, encoder, encoder_digest) AS code_set,
    * EXCLUDE (artifact, added_at, removed_at)
FROM shown.maps
WHERE is_live(added_at, removed_at);
