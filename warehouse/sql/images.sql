-- One row per image. mpp: um per pixel of level 0, NULL where unknown; size in bytes; path is '' in a pseudonymized cohort.
CREATE OR REPLACE VIEW images AS
SELECT DISTINCT cohort, case_id, image_id, modality, path, mpp, size, sha256
FROM base.images WHERE is_live(added_at, removed_at);
