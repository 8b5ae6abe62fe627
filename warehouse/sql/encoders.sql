-- One row per encoder as it was used: version, weights digest, preprocessing and what it was trained on.
CREATE OR REPLACE VIEW encoders AS
SELECT DISTINCT * EXCLUDE (artifact, added_at, removed_at) FROM shown.encoders WHERE is_live(added_at, removed_at);
