-- One row per commit up to this snapshot: who made it, with which code, and how many artifacts it added.
CREATE OR REPLACE VIEW snapshots AS
WITH added AS (
    SELECT added_at AS version, count(*) AS artifacts FROM shown.log WHERE kind NOT IN ('commit', 'alias', 'tag') GROUP BY ALL
)
SELECT
    c.added_at AS version,
    c.meta ->> 'created_at' AS created_at,
    c.meta ->> 'message' AS message,
    c.meta ->> '$.actor.host' AS host,
    c.meta ->> '$.actor.flow_run_id' AS flow_run_id,
    c.meta ->> '$.actor.git_sha' AS git_sha,
    coalesce(a.artifacts, 0) AS artifacts
FROM shown.log c
LEFT JOIN added a ON a.version = c.added_at
WHERE c.kind = 'commit' AND is_live(c.added_at, c.removed_at);

-- Movable names: the snapshot that each points to, and the run in it ('' for the whole snapshot).
CREATE OR REPLACE VIEW aliases AS
SELECT artifact AS name, (meta ->> 'snapshot')::BIGINT AS snapshot, meta ->> 'artifact' AS run
FROM shown.log
WHERE kind = 'alias' AND is_live(added_at, removed_at);

-- Fixed names of snapshots: all that the index knows, at whatever snapshot the session looks.
CREATE OR REPLACE VIEW tags AS
SELECT t.artifact AS name, (t.meta ->> 'snapshot')::BIGINT AS snapshot, c.meta ->> 'created_at' AS created_at
FROM shown.log t
JOIN shown.log c ON c.kind = 'commit' AND c.added_at = t.added_at
WHERE t.kind = 'tag';
