-- Images that an encoder could not read, with the reason; those that it has read since are out of it.
CREATE OR REPLACE VIEW quarantine AS
SELECT DISTINCT q.* EXCLUDE (artifact, added_at, removed_at)
FROM shown.quarantine q
WHERE
    is_live(q.added_at, q.removed_at)
    AND NOT EXISTS (
        FROM shown.log l
        WHERE
            is_live(l.added_at, l.removed_at)
            AND l.kind IN ('bag', 'codes')
            AND (l.cohort, l.case_id, l.image_id, l.encoder_digest)
            = (q.cohort, q.case_id, q.image_id, q.encoder_digest)
    );
