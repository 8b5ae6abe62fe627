-- Images that an encoder could not read: left out of their code set, with the reason.
CREATE OR REPLACE VIEW quarantine AS
SELECT DISTINCT * EXCLUDE (artifact, added_at, removed_at) FROM base.quarantine WHERE is_live(added_at, removed_at);
