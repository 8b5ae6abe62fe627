-- Grids of heads that were run: file is the sweep as JSON, runs the ids of all runs that it means.
CREATE OR REPLACE VIEW sweeps AS
SELECT * EXCLUDE (artifact, added_at, removed_at)
FROM shown.sweeps
WHERE is_live(added_at, removed_at);
