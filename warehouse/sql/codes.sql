-- Case codes of all widths, as lists: a view over FLOAT[512] and FLOAT[1024] would bind and then fail when read.
-- The branches for the widths in this store are appended by warehouse/tables.py.
CREATE OR REPLACE VIEW codes AS
SELECT
    '' AS code_set, '' AS cohort, '' AS modality, '' AS encoder, '' AS encoder_digest, '' AS trained_on, '' AS split,
    0::INTEGER AS fold, '' AS case_id, '' AS image_id, '' AS artifact, []::FLOAT[] AS code, []::FLOAT[] AS unit
WHERE false
