-- Trained weights. role: encoder, guidance or decoder; sha256 names the file objects/weights/<sha256>.safetensors.
CREATE OR REPLACE VIEW weights AS
SELECT
    artifact,
    regexp_extract(path, '([0-9a-f]{64})\.safetensors', 1) AS sha256,
    meta ->> 'role' AS role,
    meta ->> 'name' AS name,
    cohort,
    split,
    fold,
    trained_on
FROM shown.log
WHERE kind = 'weights' AND is_live(added_at, removed_at);
