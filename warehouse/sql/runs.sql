-- One row per trained and evaluated head. kind, unit: of its target (classes, ordinal, multilabel, value, survival).
-- row: S+I, S, I, G(I), G(I)+I, …; control is '' for the real thing. labelled:
-- how many labels of train it was shown, or all; fusion: of its two codes, '' for side by side; note: what its training
-- warns of (a best epoch of 1 to 4, a val loss at chance, micro F1 well below the largest class), '' for nothing:
--   SELECT row, guidance, decoder, note FROM runs WHERE control = ''
CREATE OR REPLACE VIEW runs AS
SELECT * EXCLUDE (artifact, added_at, removed_at) FROM shown.runs WHERE is_live(added_at, removed_at);

-- One row per run, part and metric, beside all that the run was, so that this needs no join:
--   FROM metrics WHERE metric = 'balanced_accuracy' AND part = 'test'
CREATE OR REPLACE VIEW metrics AS
SELECT m.part, m.metric, m.value, r.*
FROM shown.metrics m
JOIN runs r USING (run)
WHERE is_live(m.added_at, m.removed_at);

-- One row per run and case; probabilities are in the order of the target's class_index. Of other kinds of targets:
-- value, with its interval from low to high at level; risk (higher is worse); survival, the share that outlives each of
-- times. What came true stands in labels, and of classes and grades in label too:
--   SELECT p.run, p.risk, p.value, p.predicted, l.time, l.event, l.class FROM predictions p JOIN labels l USING (cohort, case_id, target)
CREATE OR REPLACE VIEW predictions AS
SELECT
    p.run, p.cohort, p.case_id, p.part, p.label, p.predicted, p.probabilities,
    p.value, p.low, p.high, p.level, p.risk, p.times, p.survival,
    r.target, r.kind, r.unit, r.split, r.fold, r.inferior, r.superior, r.mode, r.row, r.guidance, r.decoder, r.fusion, r.control, r.labelled, r.seed
FROM shown.predictions p
JOIN runs r USING (run)
WHERE is_live(p.added_at, p.removed_at);
