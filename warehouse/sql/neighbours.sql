-- The k cases most like a case, by cosine similarity in one code set, the case itself left out:
--   FROM neighbours('case_007', 'phantom/mri_all/densenet3d', k := 5)
-- The code set may be any beginning of its name that fits one set only. A case with several images counts with its
-- most similar pair. labels holds all labels of the neighbour, as target=class; a
-- time with + did not end in the event.
CREATE OR REPLACE MACRO neighbours(of_case, in_code_set, k := 10) AS TABLE
WITH names AS (
    SELECT name FROM code_sets WHERE kind = 'codes' AND starts_with(name, shown_path(in_code_set))
),
chosen AS (
    SELECT CASE
        WHEN count(*) = 0 THEN error('no set of case codes begins with ' || in_code_set || '; FROM code_sets lists them')
        WHEN count(*) FILTER (name = shown_path(in_code_set)) = 1 THEN shown_path(in_code_set)
        WHEN count(*) > 1 THEN error(
            in_code_set || ' is the beginning of several code sets: ' || string_agg(name, ', ' ORDER BY name) || '; give more of the name'
        )
        ELSE any_value(name)
    END AS name
    FROM names
),
asked AS (
    SELECT unit FROM codes WHERE code_set = (SELECT name FROM chosen) AND case_id = of_case
),
checked AS (
    SELECT CASE
        WHEN count(*) = 0 THEN error('case ' || of_case || ' has no code in ' || in_code_set)
        WHEN count(unit) = 0 THEN error('the code of case ' || of_case || ' in ' || in_code_set || ' is not finite')
        ELSE true
    END AS fine
    FROM asked
),
nearest AS (
    SELECT c.cohort, c.case_id, max(list_inner_product(c.unit, a.unit)) AS similarity
    FROM codes c
    CROSS JOIN asked a
    WHERE c.code_set = (SELECT name FROM chosen)
        AND c.case_id <> of_case
        AND c.unit IS NOT NULL
        AND a.unit IS NOT NULL
        AND (SELECT fine FROM checked)
    GROUP BY c.cohort, c.case_id
    ORDER BY similarity DESC, c.case_id
    LIMIT k
)
SELECT
    row_number() OVER (ORDER BY similarity DESC, case_id) AS rank,
    case_id,
    similarity,
    (SELECT string_agg(
        target || '=' || CASE
            WHEN time IS NOT NULL THEN time::VARCHAR || CASE WHEN event THEN '' ELSE '+' END
            WHEN class <> '' AND value IS NOT NULL THEN class
            ELSE coalesce(nullif(class, ''), value::VARCHAR)
        END, ', ' ORDER BY target, class)
     FROM labels l
     WHERE l.cohort = n.cohort AND l.case_id = n.case_id AND NOT coalesce(class <> '' AND value = 0, false)) AS labels
FROM nearest n
ORDER BY rank;
