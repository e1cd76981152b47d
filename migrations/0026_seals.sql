-- Device events get their numbers before they are there to be seen: one whose
-- transaction still runs may have a smaller number than one that is visible.
-- What is sealed ends at a number that was the newest when every transaction
-- that has ended since had not begun.
CREATE TABLE device_event_horizon (
	domain_id integer PRIMARY KEY REFERENCES domain,
	event_id  bigint NOT NULL,
	before    xid8 NOT NULL  -- no transaction from here on has a number up to event_id
);
ALTER TABLE device_event_horizon ENABLE ROW LEVEL SECURITY;
ALTER TABLE device_event_horizon FORCE ROW LEVEL SECURITY;
CREATE POLICY wire ON device_event_horizon TO tam_wire USING (true) WITH CHECK (true);
CREATE POLICY owner ON device_event_horizon TO CURRENT_USER USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON device_event_horizon TO tam_wire;
GRANT SELECT ON SEQUENCE device_event_event_id_seq TO tam_wire;

-- Seals what can be sealed, and remembers up to where the next step may.
-- Whoever writes an event has written or locked a row before, so that its
-- transaction has a number when the event gets one.
CREATE FUNCTION device_event_seal_step(p_domain integer) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	h device_event_horizon%ROWTYPE;
	newest bigint;
	r record;
BEGIN
	SELECT * INTO h FROM device_event_horizon WHERE domain_id = p_domain;
	IF FOUND AND h.before > pg_snapshot_xmin(pg_current_snapshot()) THEN
		RETURN;
	END IF;
	SELECT count(*) AS n, max(e.event_id) AS id, sha256(convert_to(string_agg(concat_ws('|', e.event_id, e.device_id,
		e.at_us, e.kind, e.update_id, e.detail), E'\n' ORDER BY e.event_id), 'UTF8')) AS hash INTO r
	FROM device_event e WHERE e.domain_id = p_domain AND e.event_id <= h.event_id AND e.event_id >
		(SELECT coalesce(max(s.last_event), 0) FROM device_event_seal s WHERE s.domain_id = p_domain);
	IF r.n > 0 THEN
		INSERT INTO device_event_seal VALUES (p_domain, r.id, r.n, r.hash, audit_append(p_domain, 'tamd', 'seal',
			'device_event', '', '', NULL, jsonb_build_object('last_event', r.id, 'count', r.n, 'hash',
			encode(r.hash, 'hex'))));
	END IF;
	SELECT last_value INTO newest FROM device_event_event_id_seq;
	-- In a statement of its own: a newer snapshot than what was just read.
	INSERT INTO device_event_horizon VALUES (p_domain, newest, pg_snapshot_xmax(pg_current_snapshot()))
	ON CONFLICT (domain_id) DO UPDATE SET event_id = EXCLUDED.event_id, before = EXCLUDED.before;
END $$;
