-- Whether a fact that commit `added` brought and commit `removed` took away (NULL: still there) belongs to the snapshot
-- that the session looks at. `SET VARIABLE at_commit = N` chooses it; without it, the newest one in the index counts.
CREATE OR REPLACE MACRO is_live(added, removed) AS
    added <= coalesce(getvariable('at_commit'), 9223372036854775807)
    AND (removed IS NULL OR removed > coalesce(getvariable('at_commit'), 9223372036854775807));

-- What a cohort is shown as: its own name, or the one that `guidestore cohort rename` gave it at that snapshot.
CREATE OR REPLACE MACRO shown_cohort(of_cohort) AS coalesce(getvariable('shown_as')[of_cohort], of_cohort);

-- The same in a text that begins with a cohort's name, or in several of them: COHORT/SPLIT/FOLD, COHORT/MODALITY/ENCODER.
CREATE OR REPLACE MACRO shown_path(of_path) AS CASE
    WHEN getvariable('shown_as') IS NULL THEN of_path
    ELSE array_to_string(
        list_transform(
            string_split(of_path, ', '),
            lambda path: shown_cohort(split_part(path, '/', 1)) || substr(path, length(split_part(path, '/', 1)) + 1)
        ),
        ', '
    )
END;

-- COHORT/MODALITY/ENCODER@DIGEST12, as everywhere in guidestore.
CREATE OR REPLACE MACRO code_set_name(of_cohort, of_modality, of_encoder, of_digest) AS
    of_cohort || '/' || of_modality || '/' || of_encoder || '@' || left(of_digest, 12);

-- A code set without its digest: the sets of the folds of one encoder share it.
CREATE OR REPLACE MACRO code_set_stem(of_name) AS regexp_replace(of_name, '@.*', '');
