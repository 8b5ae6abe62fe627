-- Runs of a target, the best first. Choosing looks at val only; scores on test are for what was chosen:
--   FROM best_runs('grade') LIMIT 10
--   FROM best_runs('grade', of_metric := 'f1_micro')
CREATE OR REPLACE MACRO best_runs(of_target, of_metric := 'balanced_accuracy') AS TABLE
SELECT
    row_number() OVER (ORDER BY value DESC NULLS LAST, run) AS rank,
    value AS val_score,
    run, cohort, inferior, superior, mode, "row", guidance, decoder, fusion, control, labelled, split, fold, seed, note
FROM metrics
WHERE target = of_target AND metric = of_metric AND part = 'val'
ORDER BY rank;
