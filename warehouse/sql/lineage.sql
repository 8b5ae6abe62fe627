-- What each artifact was made from. An input is another artifact (input_kind says of what kind) or the sha256 of an
-- image file (input_kind 'image'). A neighbour index is made from a 'code set', of which input is the digest over its
-- artifact ids, and names the 'encoder' that made it. NULL where the store knows nothing of it. code_set: the set that
-- the artifact is in, or indexes. device: where it was computed, '' for what no network made.
CREATE OR REPLACE VIEW lineage AS
WITH edges AS (
    SELECT
        artifact,
        kind,
        cohort,
        case_id,
        CASE WHEN kind IN ('bag', 'codes', 'index') THEN code_set_name(cohort, modality, encoder, encoder_digest) END AS code_set,
        encoder_digest,
        added_at,
        unnest(inputs) AS input
    FROM shown.log
    WHERE kind NOT IN ('commit', 'alias', 'tag') AND is_live(added_at, removed_at)
),
artifacts AS (
    SELECT artifact AS input, any_value(kind) AS input_kind
    FROM shown.log
    WHERE kind NOT IN ('commit', 'alias', 'tag') AND is_live(added_at, removed_at)
    GROUP BY artifact
),
files AS (
    SELECT DISTINCT sha256 AS input FROM shown.images WHERE is_live(added_at, removed_at)
)
SELECT
    e.* EXCLUDE (encoder_digest, added_at),
    coalesce(
        a.input_kind,
        CASE
            WHEN f.input IS NOT NULL THEN 'image'
            WHEN e.kind = 'index' THEN if(e.input = e.encoder_digest, 'encoder', 'code set')
        END
    ) AS input_kind,
    coalesce(c.meta ->> '$.actor.device', '') AS device
FROM edges e
LEFT JOIN shown.log c ON c.kind = 'commit' AND c.added_at = e.added_at
LEFT JOIN artifacts a USING (input)
LEFT JOIN files f USING (input);
