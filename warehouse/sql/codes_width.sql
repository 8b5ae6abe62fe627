-- Case codes of one width. unit is the code at length 1, so array_inner_product(unit, unit) is the cosine; a code of
-- zeros stays zeros, and a code with NaN or infinity has no unit.
CREATE OR REPLACE VIEW codes_$d AS
SELECT * EXCLUDE (added_at, removed_at) FROM shown.codes_$d WHERE is_live(added_at, removed_at);
