-- Who looked at test: one row per look and run that it was about. The same runs again are no new look.
CREATE OR REPLACE VIEW looks AS
SELECT * EXCLUDE (artifact, added_at, removed_at)
FROM shown.looks
WHERE is_live(added_at, removed_at);
