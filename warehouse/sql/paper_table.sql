-- The paper's table: mean and standard deviation over folds, seeds and permutations, on test, rows in the paper's order:
--   FROM paper_table() WHERE target = 'grade'
--   FROM paper_table(of_metric := 'micro_f1')
CREATE OR REPLACE MACRO paper_table(of_metric := 'balanced_accuracy') AS TABLE
SELECT
    cohort,
    target,
    split,
    code_set_stem(inferior) AS inferior,
    code_set_stem(superior) AS superior,
    mode,
    row,
    guidance,
    decoder,
    control,
    count(*) AS runs,
    avg(value) AS mean,
    stddev_samp(value) AS sd,
    string_agg(DISTINCT trained_on, ', ') AS trained_on
FROM metrics
WHERE metric = of_metric AND part = 'test'
GROUP BY ALL
ORDER BY cohort, target, split, inferior, superior, mode,
    list_position(['S+I', 'S', 'I', 'G(I)', 'G(I)+I'], row) NULLS LAST, control, guidance, decoder;
