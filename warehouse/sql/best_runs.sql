-- Runs of a target, the best first, in balanced accuracy, or by the target's kind in R² (value), Uno's C (survival),
-- quadratic kappa (ordinal) or macro AUROC (multilabel). Choosing looks at val only; scores on test are for what was
-- chosen. Of another metric a higher value stands first:
--   FROM best_runs('grade') LIMIT 10
--   FROM best_runs('grade', of_metric := 'f1_micro')
CREATE OR REPLACE MACRO best_runs(of_target, of_metric := '') AS TABLE
SELECT
    row_number() OVER (ORDER BY value DESC NULLS LAST, run) AS rank,
    value AS val_score,
    run, cohort, inferior, superior, mode, "row", guidance, decoder, fusion, control, labelled, split, fold, seed, note
FROM metrics
WHERE target = of_target AND part = 'val' AND metric = coalesce(nullif(of_metric, ''), CASE kind
    WHEN 'value' THEN 'r2'
    WHEN 'survival' THEN 'uno_c'
    WHEN 'ordinal' THEN 'quadratic_kappa'
    WHEN 'multilabel' THEN 'macro_auroc'
    ELSE 'balanced_accuracy' END)
ORDER BY rank;
