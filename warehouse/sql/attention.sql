-- Where an attention network looked: per slide and branch, one weight per tile in the order of the bag.
CREATE OR REPLACE VIEW attention AS
SELECT
    code_set_name(cohort, modality, encoder, encoder_digest) AS code_set,
    * EXCLUDE (artifact, added_at, removed_at)
FROM shown.attention
WHERE is_live(added_at, removed_at);
