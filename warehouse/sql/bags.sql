-- One row per bag, the patch codes of one slide: tiles is n, d its code dimensions. The codes themselves stay in zarr.
CREATE OR REPLACE VIEW bags AS
SELECT
    code_set_name(cohort, modality, encoder, encoder_digest) AS code_set,
    cohort,
    modality,
    encoder,
    encoder_digest,
    trained_on,
    case_id,
    image_id,
    shape[1] AS tiles,
    shape[2] AS d,
    dtype,
    artifact
FROM shown.log
WHERE kind = 'bag' AND is_live(added_at, removed_at);
