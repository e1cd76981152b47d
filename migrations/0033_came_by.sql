-- The wire profile a device came by last (wire_profile.wire_id): its limits are
-- the ones that explain and dry run must know.  NULL: not known yet.
ALTER TABLE device_seen ADD wire_id smallint;
