-- Whether a fact that commit `added` brought and commit `removed` took away (NULL: still there) belongs to the snapshot
-- that the session looks at. `SET VARIABLE at_commit = N` chooses it; without it, the newest one in the index counts.
CREATE OR REPLACE MACRO is_live(added, removed) AS
    added <= coalesce(getvariable('at_commit'), 9223372036854775807)
    AND (removed IS NULL OR removed > coalesce(getvariable('at_commit'), 9223372036854775807));

-- COHORT/MODALITY/ENCODER@DIGEST12, as everywhere in guidestore.
CREATE OR REPLACE MACRO code_set_name(of_cohort, of_modality, of_encoder, of_digest) AS
    of_cohort || '/' || of_modality || '/' || of_encoder || '@' || left(of_digest, 12);

-- A code set without its digest: the sets of the folds of one encoder share it.
CREATE OR REPLACE MACRO code_set_stem(of_name) AS regexp_replace(of_name, '@.*', '');
