-- One row per image. mpp: um per pixel of level 0, NULL where unknown; size in bytes; path is '' in a pseudonymized cohort.
-- What decided the pixels, where it is known: mpp_source, orientation, bit_depth, scaling, geometry, and all files read.
CREATE OR REPLACE VIEW images AS
SELECT DISTINCT
    cohort, case_id, image_id, modality, path, mpp, size, sha256,
    mpp_source, orientation, bit_depth, scaling, geometry, files
FROM shown.images WHERE is_live(added_at, removed_at);
