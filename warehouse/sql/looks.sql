-- Who looked at test after choosing on val: one row per run and look.
CREATE OR REPLACE VIEW looks AS
SELECT * EXCLUDE (artifact, added_at, removed_at)
FROM shown.looks
WHERE is_live(added_at, removed_at);
