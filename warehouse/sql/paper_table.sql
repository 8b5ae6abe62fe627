-- The paper's table: mean and standard deviation over folds, seeds and permutations, on test, rows in the paper's order:
--   FROM paper_table() WHERE target = 'grade'
--   FROM paper_table(of_metric := 'f1_micro')
CREATE OR REPLACE MACRO paper_table(of_metric := 'balanced_accuracy') AS TABLE
WITH scores AS (
    SELECT
        * REPLACE (code_set_stem(inferior) AS inferior, code_set_stem(superior) AS superior),
        list_position(['S+I', 'S', 'I', 'G(I)', 'G(I)+I'], "row") AS position
    FROM metrics
    WHERE metric = of_metric AND part = 'test'
)
SELECT
    cohort,
    target,
    split,
    inferior,
    superior,
    mode,
    "row",
    guidance,
    decoder,
    fusion,
    control,
    labelled,
    count(*) AS runs,
    avg(value) AS mean,
    stddev_samp(value) AS sd,
    string_agg(DISTINCT trained_on, ', ' ORDER BY trained_on) AS trained_on
FROM scores
GROUP BY cohort, target, split, inferior, superior, mode, "row", guidance, decoder, fusion, control, labelled
ORDER BY cohort, target, split, inferior, superior, mode, min(position) NULLS LAST, control, guidance, decoder, labelled;
