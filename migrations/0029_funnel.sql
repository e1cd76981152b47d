-- A revocation's funnel is counted as devices move, not when somebody looks;
-- a class of devices can be its target, and quarantine what it does.
ALTER TABLE revocation DROP CONSTRAINT revocation_target_check;
ALTER TABLE revocation ADD CONSTRAINT revocation_target_check
	CHECK (target IN ('component', 'manifest', 'range', 'signer', 'class'));
ALTER TABLE revocation
	ADD class text,                                 -- target = class
	ADD quarantine boolean NOT NULL DEFAULT false;  -- nothing is taken; policies say nothing

-- Tables whose rows are domains': nodes see them all, the API those of the
-- domain that signed in, whoever may what with them.
CREATE FUNCTION of_domains(VARIADIC p_tables text[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY p_tables LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY wire ON %I TO tam_wire USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY admin ON %I TO tam_admin
			USING (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)
			WITH CHECK (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)', t);
	END LOOP;
END $$;
REVOKE ALL ON FUNCTION of_domains FROM PUBLIC;

-- Microseconds as people read them; none is none.
CREATE FUNCTION us_time(us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN us > 0 THEN to_timestamp(us / 1e6) END
$$;

-- How many devices are how far.  mask: 1 offered, 2 acknowledged, 4 verified,
-- 8 attested when it was.  As of rollouts: answers only append, so that they
-- never wait for each other; a controller sums.
CREATE TABLE revocation_tally (
	domain_id     integer NOT NULL,
	revocation_id bigint NOT NULL,
	mask          integer NOT NULL,
	n             bigint NOT NULL,
	PRIMARY KEY (domain_id, revocation_id, mask)
);
CREATE TABLE revocation_tally_delta (
	domain_id     integer NOT NULL,
	revocation_id bigint NOT NULL,
	delta_id      bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
	mask          integer NOT NULL,
	n             bigint NOT NULL,
	PRIMARY KEY (domain_id, revocation_id, delta_id)
);

CREATE FUNCTION revocation_mask(r revocation_device) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
	SELECT (r.offered_us IS NOT NULL)::integer + 2 * (r.acknowledged_us IS NOT NULL)::integer
		+ CASE WHEN r.verified_us IS NULL THEN 0 WHEN r.attested THEN 12 ELSE 4 END
$$;

INSERT INTO revocation_tally
SELECT domain_id, revocation_id, revocation_mask(r), count(*) FROM revocation_device r GROUP BY 1, 2, 3;

-- counted: by who wrote the row, many at once.
ALTER TABLE revocation_device ADD counted boolean NOT NULL DEFAULT false;
CREATE FUNCTION revocation_tally_note() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP <> 'INSERT' THEN
		INSERT INTO revocation_tally_delta (domain_id, revocation_id, mask, n)
		VALUES (OLD.domain_id, OLD.revocation_id, revocation_mask(OLD), -1);
	END IF;
	IF TG_OP <> 'DELETE' THEN
		INSERT INTO revocation_tally_delta (domain_id, revocation_id, mask, n)
		VALUES (NEW.domain_id, NEW.revocation_id, revocation_mask(NEW), 1);
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER revocation_tally_insert AFTER INSERT ON revocation_device
	FOR EACH ROW WHEN (NOT NEW.counted) EXECUTE FUNCTION revocation_tally_note();
CREATE TRIGGER revocation_tally_delete AFTER DELETE ON revocation_device
	FOR EACH ROW EXECUTE FUNCTION revocation_tally_note();
CREATE TRIGGER revocation_tally_update AFTER UPDATE ON revocation_device
	FOR EACH ROW WHEN (revocation_mask(OLD) <> revocation_mask(NEW)) EXECUTE FUNCTION revocation_tally_note();

-- Exact at any time.
CREATE VIEW revocation_count WITH (security_invoker = true) AS
	SELECT domain_id, revocation_id, mask, sum(n)::bigint AS n
	FROM (SELECT domain_id, revocation_id, mask, n FROM revocation_tally
		UNION ALL SELECT domain_id, revocation_id, mask, n FROM revocation_tally_delta) t
	GROUP BY domain_id, revocation_id, mask;

-- Adds what is to be added, of all domains, some of it; how much that was.
CREATE FUNCTION revocation_tally_add() RETURNS bigint
LANGUAGE sql AS $$
	WITH d AS (DELETE FROM revocation_tally_delta x USING (SELECT domain_id, revocation_id, delta_id
			FROM revocation_tally_delta LIMIT 20000) y
		WHERE x.domain_id = y.domain_id AND x.revocation_id = y.revocation_id AND x.delta_id = y.delta_id
		RETURNING x.domain_id, x.revocation_id, x.mask, x.n),
	a AS (INSERT INTO revocation_tally AS t
		SELECT domain_id, revocation_id, mask, sum(n) FROM d GROUP BY domain_id, revocation_id, mask
		ON CONFLICT (domain_id, revocation_id, mask) DO UPDATE SET n = t.n + EXCLUDED.n)
	SELECT count(*) FROM d
$$;

GRANT SELECT ON revocation_tally, revocation_tally_delta, revocation_count TO tam_wire, tam_admin;
GRANT INSERT, UPDATE ON revocation_tally TO tam_wire;
GRANT INSERT, DELETE ON revocation_tally_delta TO tam_wire;
SELECT of_domains('revocation_tally', 'revocation_tally_delta');

-- How long it took: the rank is found without sorting.
CREATE INDEX revocation_device_verified ON revocation_device (domain_id, revocation_id, verified_us)
	WHERE verified_us IS NOT NULL;
-- Who is active: counted, and walked in the order of a dry run.
CREATE INDEX device_active ON device (domain_id, device_id) WHERE status = 'active';
CREATE INDEX device_class ON device (domain_id, class, device_id);

-- As before; devices of a class too, and counts what it writes.
CREATE OR REPLACE FUNCTION revocation_spread_step(p_now_us bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	r revocation%ROWTYPE;
	ids bigint[];
	under_way bigint[] := '{}';
	step CONSTANT integer := 5000;
	fresh bigint;
BEGIN
	SELECT * INTO r FROM revocation WHERE NOT spread_done ORDER BY revocation_id LIMIT 1 FOR UPDATE;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	-- Who has an Update under way that brings a target: all at once, first.
	IF r.spread_after = 0 THEN
		under_way := ARRAY(SELECT DISTINCT o.device_id FROM outstanding_update o
			WHERE o.domain_id = r.domain_id AND o.state = 'committed' AND o.adds && r.components);
	END IF;
	IF r.target = 'class' THEN
		ids := ARRAY(SELECT d.device_id FROM device d WHERE d.domain_id = r.domain_id AND d.class = r.class
			AND d.device_id > r.spread_after ORDER BY d.device_id LIMIT step);
	ELSE
		ids := ARRAY(SELECT DISTINCT x.device_id FROM unnest(r.components, r.digests) AS t (component, digest),
			LATERAL (SELECT c.device_id FROM device_component c
				WHERE c.domain_id = r.domain_id AND c.component = t.component AND c.device_id > r.spread_after
					AND (t.digest = '\x' OR c.digest IS NULL OR c.digest = t.digest)
				ORDER BY c.device_id LIMIT step) x
			ORDER BY x.device_id LIMIT step);
	END IF;
	UPDATE revocation v SET spread_done = cardinality(ids) < step,
		spread_after = CASE WHEN cardinality(ids) = 0 THEN v.spread_after ELSE ids[cardinality(ids)] END
	WHERE v.domain_id = r.domain_id AND v.revocation_id = r.revocation_id;
	ids := ids || under_way;
	PERFORM FROM device_seen s WHERE s.domain_id = r.domain_id AND s.device_id = ANY (ids)
	ORDER BY s.device_id FOR UPDATE;
	INSERT INTO revocation_device (domain_id, revocation_id, device_id, affected_us, counted)
	SELECT DISTINCT r.domain_id, r.revocation_id, d.id, r.created_us, true FROM unnest(ids) AS d (id)
	ON CONFLICT DO NOTHING;
	GET DIAGNOSTICS fresh = ROW_COUNT;
	INSERT INTO revocation_tally_delta (domain_id, revocation_id, mask, n)
	VALUES (r.domain_id, r.revocation_id, 0, fresh);
	-- Their next answer is looked at whole, whatever it shows.
	UPDATE device_seen s SET open_work = true, version = s.version + 1
	WHERE s.domain_id = r.domain_id AND s.device_id = ANY (ids);
	RETURN true;
END $$;
