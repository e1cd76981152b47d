-- Events lie in partitions by month, and whole months can be dropped: what is
-- left of the chain begins with what was its end then, and says so itself.

-- The first microsecond of the month of a time, so many months on; UTC.
CREATE FUNCTION event_month(p_us bigint, p_months integer) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
	SELECT (extract(epoch FROM date_trunc('month', to_timestamp(p_us / 1e6) AT TIME ZONE 'UTC')
		+ make_interval(months => p_months)) * 1000000)::bigint
$$;

CREATE TABLE event_partition (
	parent   text NOT NULL,   -- audit_event or device_event
	name     text NOT NULL,
	until_us bigint NOT NULL, -- its events are from before, and after the one before it
	PRIMARY KEY (parent, until_us)
);
CREATE TABLE event_retention (
	one      boolean PRIMARY KEY DEFAULT true CHECK (one),
	first_us bigint NOT NULL, -- where the first partition ends, which has all that was before
	months   integer CHECK (months >= 1)  -- whole ones that are kept; NULL: all
);
-- Whatever is there, by whatever clock, is in it.
INSERT INTO event_retention (first_us)
SELECT event_month(greatest((extract(epoch FROM clock_timestamp()) * 1e6)::bigint, (SELECT max(at_us) FROM device_event),
	(SELECT (extract(epoch FROM max(at)) * 1e6)::bigint FROM audit_event)), 1);
GRANT SELECT ON event_retention TO tam_wire;

-- Nobody reads a partition but through its table.
CREATE FUNCTION event_partition_close(p_part text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', p_part);
	EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', p_part);
	EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', p_part);
END $$;

-- --- the tables anew, what was there as their first partition -------------------

ALTER TABLE audit_event RENAME TO audit_event_first;
ALTER TABLE audit_event_first DROP CONSTRAINT audit_event_pkey;
CREATE TABLE audit_event (LIKE audit_event_first INCLUDING DEFAULTS,
	PRIMARY KEY (domain_id, seq, at), FOREIGN KEY (domain_id) REFERENCES domain) PARTITION BY RANGE (at);

ALTER TABLE device_event RENAME TO device_event_first;
ALTER TABLE device_event_first DROP CONSTRAINT device_event_pkey;
ALTER INDEX device_event_device RENAME TO device_event_first_device;
DO $$
DECLARE
	newest bigint := (SELECT last_value + is_called::integer FROM device_event_event_id_seq);
BEGIN
	ALTER TABLE device_event_first ALTER event_id DROP IDENTITY;
	EXECUTE format('CREATE SEQUENCE device_event_event_id_seq START %s', newest);
END $$;
CREATE TABLE device_event (LIKE device_event_first INCLUDING DEFAULTS,
	PRIMARY KEY (domain_id, event_id, at_us)) PARTITION BY RANGE (at_us);
ALTER TABLE device_event ALTER event_id SET DEFAULT nextval('device_event_event_id_seq');
ALTER SEQUENCE device_event_event_id_seq OWNED BY device_event.event_id;
CREATE INDEX device_event_device ON device_event (domain_id, device_id, event_id);

GRANT SELECT ON device_event, audit_event TO tam_wire, tam_admin;
GRANT INSERT ON device_event, audit_event TO tam_wire;
GRANT INSERT ON audit_event TO tam_admin;
GRANT SELECT, USAGE ON SEQUENCE device_event_event_id_seq TO tam_wire;
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['audit_event', 'device_event'] LOOP
		PERFORM of_domains(t);
		EXECUTE format('REVOKE ALL ON %I FROM tam_wire, tam_admin', t || '_first');
		EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', t || '_other', t);
		PERFORM event_partition_close(t || '_other');
		INSERT INTO event_partition SELECT t, t || '_first', first_us FROM event_retention;
	END LOOP;
END $$;

-- What a partition's bound is called where it is attached.
CREATE FUNCTION event_bound(p_parent text, p_us bigint) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT CASE p_parent WHEN 'device_event' THEN p_us::text
		ELSE quote_literal(to_timestamp(p_us / 1e6)::timestamptz AT TIME ZONE 'UTC' || '+00') END
$$;
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['audit_event', 'device_event'] LOOP
		EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%s)', t, t || '_first',
			event_bound(t, (SELECT first_us FROM event_retention)));
	END LOOP;
END $$;

-- --- the chain ---------------------------------------------------------------------

-- In the order of time, so that what is from before a month is from before in
-- the chain as well, whatever the clock did.
ALTER TABLE domain ADD audit_at timestamptz NOT NULL DEFAULT '-infinity';
UPDATE domain d SET audit_at = coalesce((SELECT max(at) FROM audit_event e WHERE e.domain_id = d.domain_id), '-infinity');
GRANT UPDATE (audit_at) ON domain TO tam_wire, tam_admin;

CREATE OR REPLACE FUNCTION audit_append(p_domain integer, p_actor text, p_action text, p_object text, p_reason text,
	p_request text, p_before jsonb, p_after jsonb) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
	d domain%ROWTYPE;
	t timestamptz;
	h bytea;
BEGIN
	SELECT * INTO STRICT d FROM domain WHERE domain_id = p_domain FOR UPDATE;
	t := greatest(clock_timestamp(), d.audit_at);
	h := audit_hash(d.audit_hash, d.audit_seq + 1, t, p_actor, p_action, p_object, p_reason, p_request,
		p_before, p_after);
	INSERT INTO audit_event VALUES (p_domain, d.audit_seq + 1, t, p_actor, p_action, p_object, p_reason,
		p_request, p_before, p_after, d.audit_hash, h);
	UPDATE domain SET audit_seq = d.audit_seq + 1, audit_hash = h, audit_at = t WHERE domain_id = p_domain;
	RETURN d.audit_seq + 1;
END $$;

-- Device events are sealed by month: what is sealed together is dropped
-- together.  Not more at once than a node waits for: the next step goes on.
ALTER TABLE device_event_seal ADD until_us bigint;
UPDATE device_event_seal SET until_us = (SELECT first_us FROM event_retention);
ALTER TABLE device_event_seal ALTER until_us SET NOT NULL, DROP CONSTRAINT device_event_seal_pkey,
	ADD PRIMARY KEY (domain_id, last_event, until_us);

CREATE FUNCTION event_until(p_us bigint, p_first_us bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
	SELECT greatest(event_month(p_us, 1), p_first_us)
$$;

DROP FUNCTION device_event_seal_step;
CREATE FUNCTION device_event_seal_step(p_domain integer) RETURNS boolean -- whether there is more to seal
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	h device_event_horizon%ROWTYPE;
	first bigint := (SELECT first_us FROM event_retention);
	sealed bigint := (SELECT coalesce(max(last_event), 0) FROM device_event_seal WHERE domain_id = p_domain);
	step CONSTANT integer := 50000;
	newest bigint;
	n bigint := 0;
	r record;
BEGIN
	SELECT * INTO h FROM device_event_horizon WHERE domain_id = p_domain;
	IF FOUND AND h.before > pg_snapshot_xmin(pg_current_snapshot()) THEN
		RETURN false;
	END IF;
	FOR r IN
		SELECT event_until(e.at_us, first) AS until_us, count(*) AS n, max(max(e.event_id)) OVER () AS id,
			sha256(convert_to(string_agg(concat_ws('|', e.event_id, e.device_id, e.at_us, e.kind, e.update_id,
				e.detail), E'\n' ORDER BY e.event_id), 'UTF8')) AS hash
		FROM (SELECT * FROM device_event x WHERE x.domain_id = p_domain AND x.event_id > sealed AND x.event_id <= h.event_id
			ORDER BY x.event_id LIMIT step) e
		GROUP BY 1 ORDER BY 1
	LOOP
		n := n + r.n;
		INSERT INTO device_event_seal (domain_id, last_event, count, hash, audit_seq, until_us)
		VALUES (p_domain, r.id, r.n, r.hash, audit_append(p_domain, 'tamd', 'seal', 'device_event', '', '', NULL,
			jsonb_build_object('last_event', r.id, 'count', r.n, 'hash', encode(r.hash, 'hex'), 'until_us', r.until_us)),
			r.until_us);
	END LOOP;
	IF n = step THEN
		RETURN true;
	END IF;
	SELECT last_value INTO newest FROM device_event_event_id_seq;
	-- In a statement of its own: a newer snapshot than what was just read.
	INSERT INTO device_event_horizon VALUES (p_domain, newest, pg_snapshot_xmax(pg_current_snapshot()))
	ON CONFLICT (domain_id) DO UPDATE SET event_id = EXCLUDED.event_id, before = EXCLUDED.before;
	RETURN false;
END $$;

-- --- making and dropping ----------------------------------------------------------------

-- One month more of a table.  What came too early for its partition, by some
-- clock, lies in the default one and is moved.
CREATE FUNCTION event_partition_make(p_parent text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	begins bigint := (SELECT max(p.until_us) FROM event_partition p WHERE p.parent = p_parent);
	ends bigint := event_month(begins, 1);
	part text := p_parent || to_char(to_timestamp(begins / 1e6) AT TIME ZONE 'UTC', '_YYYY_MM');
	key text := CASE p_parent WHEN 'device_event' THEN 'at_us' ELSE 'at' END;
BEGIN
	EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, p_parent);
	PERFORM event_partition_close(part);
	EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', p_parent || '_other');
	EXECUTE format('WITH d AS (DELETE FROM %I WHERE %I >= %s AND %I < %s RETURNING *) INSERT INTO %I SELECT * FROM d',
		p_parent || '_other', key, event_bound(p_parent, begins), key, event_bound(p_parent, ends), part);
	EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', p_parent, part,
		event_bound(p_parent, begins), event_bound(p_parent, ends));
	INSERT INTO event_partition VALUES (p_parent, part, ends);
END $$;

-- Up to where months may be dropped by now: whole ones, and no device event
-- that nobody sealed.  NULL: nothing.
CREATE FUNCTION event_droppable(p_now_us bigint) RETURNS bigint
LANGUAGE sql STABLE AS $$
	SELECT max(p.until_us) FROM event_partition p, event_retention t
	WHERE p.parent = 'device_event' AND p.until_us <= event_month(p_now_us, -t.months) AND NOT EXISTS (
		SELECT FROM device_event e WHERE e.at_us < p.until_us AND e.event_id > (SELECT coalesce(max(s.last_event), 0)
			FROM device_event_seal s WHERE s.domain_id = e.domain_id))
$$;

-- Every chain says first what its end was; the locks of its domains come
-- before those of its tables, as in whatever else appends to it.
CREATE FUNCTION event_drop(p_until_us bigint) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
	d record;
	e record;
	dropped integer := 0;
BEGIN
	FOR d IN SELECT domain_id FROM domain ORDER BY domain_id LOOP
		SELECT seq, encode(hash, 'hex') AS hash INTO e FROM audit_event
		WHERE domain_id = d.domain_id AND at < to_timestamp(p_until_us / 1e6) ORDER BY seq DESC LIMIT 1;
		IF NOT FOUND THEN -- it begins where it began
			SELECT (after->>'seq')::bigint AS seq, after->>'hash' AS hash INTO e FROM audit_event
			WHERE domain_id = d.domain_id AND actor = 'tamd' AND action = 'drop' ORDER BY seq DESC LIMIT 1;
		END IF;
		PERFORM audit_append(d.domain_id, 'tamd', 'drop', 'events', '', '', NULL, jsonb_build_object(
			'until_us', p_until_us, 'until', to_timestamp(p_until_us / 1e6), 'seq', coalesce(e.seq, 0),
			'hash', coalesce(e.hash, '')));
		DELETE FROM device_event_seal WHERE domain_id = d.domain_id AND audit_seq <= e.seq;
	END LOOP;
	FOR d IN SELECT parent, name, until_us FROM event_partition WHERE until_us <= p_until_us ORDER BY until_us LOOP
		EXECUTE format('DROP TABLE %I', d.name);
		DELETE FROM event_partition WHERE parent = d.parent AND until_us = d.until_us;
		dropped := dropped + 1;
	END LOOP;
	RETURN dropped;
END $$;

-- Two months ahead there are, and none there are that are not to be kept; how
-- many tables were made or dropped.  Waits for nobody for long.
CREATE FUNCTION event_tend(p_now_us bigint) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
	t text;
	until_us bigint;
	n integer := 0;
BEGIN
	PERFORM set_config('lock_timeout', '500ms', true);
	FOREACH t IN ARRAY ARRAY['audit_event', 'device_event'] LOOP
		WHILE (SELECT max(p.until_us) FROM event_partition p WHERE p.parent = t) <= event_month(p_now_us, 2) LOOP
			PERFORM event_partition_make(t);
			n := n + 1;
		END LOOP;
	END LOOP;
	until_us := event_droppable(p_now_us);
	IF until_us IS NOT NULL THEN
		n := n + event_drop(until_us);
	END IF;
	RETURN n;
END $$;
SELECT event_tend((extract(epoch FROM clock_timestamp()) * 1e6)::bigint);

-- For the nodes, which can neither choose the time nor what is kept.
CREATE FUNCTION event_tend() RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
	SELECT event_tend((extract(epoch FROM clock_timestamp()) * 1e6)::bigint)
$$;
REVOKE ALL ON FUNCTION event_tend(), event_tend(bigint), event_drop, event_partition_make, event_partition_close FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_tend() TO tam_wire;

-- --- looking ------------------------------------------------------------------------------

-- As before, but for what was dropped: the chain goes on from what the newest
-- 'drop' says, and seals of dropped months are not looked behind.
CREATE OR REPLACE FUNCTION audit_verify(p_domain integer, p_seq bigint, p_hash bytea)
	RETURNS TABLE (seq bigint, problem text)
LANGUAGE sql STABLE AS $$
	WITH c AS (
		SELECT e.*, lag(e.seq) OVER w AS before_seq, lag(e.hash) OVER w AS before_hash
		FROM audit_event e WHERE e.domain_id = p_domain WINDOW w AS (ORDER BY e.seq)),
	k AS (
		SELECT coalesce((e.after->>'until_us')::bigint, 0) AS until_us, coalesce((e.after->>'seq')::bigint, 0) AS seq,
			coalesce(decode(e.after->>'hash', 'hex'), '') AS hash
		FROM (SELECT) always LEFT JOIN LATERAL (SELECT x.after FROM audit_event x WHERE x.domain_id = p_domain
			AND x.actor = 'tamd' AND x.action = 'drop' ORDER BY x.seq DESC LIMIT 1) e ON true),
	s AS (
		SELECT x.*, coalesce(max(x.last_event) OVER (ORDER BY x.last_event RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
			0) AS after_event, x.until_us <= k.until_us AS dropped
		FROM device_event_seal x, k WHERE x.domain_id = p_domain),
	r AS (
		SELECT s.*, (SELECT a.after FROM audit_event a WHERE a.domain_id = p_domain AND a.seq = s.audit_seq) AS said,
			v.n, v.now
		FROM s, LATERAL (SELECT count(*) AS n, sha256(convert_to(string_agg(concat_ws('|', d.event_id, d.device_id,
				d.at_us, d.kind, d.update_id, d.detail), E'\n' ORDER BY d.event_id), 'UTF8')) AS now
			FROM device_event d WHERE d.domain_id = p_domain AND d.event_id > s.after_event
				AND d.event_id <= s.last_event
				AND event_until(d.at_us, (SELECT first_us FROM event_retention)) = s.until_us) v
		WHERE NOT s.dropped)
	SELECT p.seq, p.problem FROM (
		SELECT c.seq, 'changed: its hash is not that of what it says' AS problem FROM c
		WHERE c.hash <> audit_hash(c.prev_hash, c.seq, c.at, c.actor, c.action, c.object, c.reason, c.request_id,
			c.before, c.after)
		UNION ALL
		SELECT c.seq, CASE WHEN c.before_seq IS NULL THEN 'the events before it are missing'
			ELSE 'the events after ' || c.before_seq || ' are missing' END FROM c, k
		WHERE c.seq <> coalesce(c.before_seq, k.seq) + 1
		UNION ALL
		SELECT c.seq, 'it does not follow the one before it' FROM c, k
		WHERE c.prev_hash <> coalesce(c.before_hash, k.hash)
		UNION ALL
		SELECT d.audit_seq, 'the end of the chain is not the last event there is' FROM domain d
		WHERE d.domain_id = p_domain AND d.audit_seq > 0 AND NOT EXISTS (SELECT FROM c WHERE c.seq = d.audit_seq
			AND c.hash = d.audit_hash AND c.seq = (SELECT max(e.seq) FROM audit_event e WHERE e.domain_id = p_domain))
		UNION ALL
		SELECT p_seq, CASE WHEN p_seq < k.seq THEN 'this event was dropped with its month: give a newer head'
			ELSE 'this event is not the one that was kept elsewhere' END FROM k
		WHERE p_seq > 0 AND NOT (p_seq = k.seq AND p_hash = k.hash)
			AND NOT EXISTS (SELECT FROM c WHERE c.seq = p_seq AND c.hash = p_hash)
		UNION ALL
		SELECT r.audit_seq, 'device events up to ' || r.last_event || ' are not what was sealed' FROM r
		WHERE r.said IS NULL OR r.n <> r.count OR r.now IS DISTINCT FROM r.hash OR r.said->>'hash' <> encode(r.hash, 'hex')
			OR (r.said->>'count')::bigint <> r.count OR (r.said->>'last_event')::bigint <> r.last_event
			OR (r.said->>'until_us')::bigint <> r.until_us
		UNION ALL
		-- Of whatever month: none was put among those that were sealed.
		SELECT max(s.audit_seq), 'there are more device events up to ' || s.last_event || ' than were sealed' FROM s
		GROUP BY s.last_event, s.after_event HAVING (SELECT count(*) FROM device_event d WHERE d.domain_id = p_domain
			AND d.event_id > s.after_event AND d.event_id <= s.last_event) > coalesce(sum(s.count) FILTER (WHERE NOT s.dropped), 0)
		UNION ALL
		SELECT c.seq, 'its seal is missing' FROM c WHERE c.actor = 'tamd' AND c.action = 'seal' AND NOT EXISTS
			(SELECT FROM device_event_seal x WHERE x.domain_id = p_domain AND x.audit_seq = c.seq)
	) p ORDER BY 1
$$;
REVOKE ALL ON FUNCTION audit_verify FROM PUBLIC;
