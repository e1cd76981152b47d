-- Which device events are final: no transaction that still runs, or is
-- prepared, has a number up to theirs.  pg_snapshot_xmax() is one past the
-- highest id that has *completed*: a transaction that runs may have an id below
-- it or above it, and it proved nothing.  The proof is now this:
--
--   (a) read N, the newest number of the sequence; then take B, an own
--       transaction id.  Whoever took a number up to N had an id before that,
--       hence below B;
--   (b) later, when B <= xmin of a snapshot, all of them have ended; a statement
--       that begins afterwards sees what they wrote.

-- (c) INSERT evaluates its defaults before its row gives the transaction an id.
ALTER TABLE device_event ALTER event_id SET DEFAULT
	nextval(CASE WHEN pg_current_xact_id() IS NOT NULL THEN 'device_event_event_id_seq'::regclass END);

ALTER TABLE device_event_horizon
	ADD settled bigint NOT NULL DEFAULT 0, -- events up to this number are final
	ADD at_us   bigint NOT NULL DEFAULT 0; -- when event_id was read
-- What is sealed already stays visible.
UPDATE device_event_horizon h SET settled = (SELECT coalesce(max(s.last_event), 0) FROM device_event_seal s
	WHERE s.domain_id = h.domain_id);
CREATE POLICY admin ON device_event_horizon TO tam_admin
	USING (domain_id = nullif(current_setting('tam.domain', true), '')::integer);
GRANT SELECT ON device_event_horizon TO tam_admin;

-- What (a) and (c) rest on, asked of the catalogue.
CREATE FUNCTION device_event_numbers_check() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('transaction_isolation') <> 'read committed' OR pg_current_xact_id_if_assigned() IS NOT NULL THEN
		RAISE 'sealing needs a READ COMMITTED transaction that has written nothing';
	END IF;
	IF (SELECT seqcache FROM pg_sequence WHERE seqrelid = 'device_event_event_id_seq'::regclass) IS DISTINCT FROM 1 THEN
		RAISE 'the sequence of device events must have CACHE 1';
	END IF;
	IF (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid
			AND a.attnum = d.adnum WHERE d.adrelid = 'device_event'::regclass AND a.attname = 'event_id')
		NOT LIKE '%WHEN (pg\_current\_xact\_id() IS NOT NULL) THEN%' THEN
		RAISE 'the number of a device event must come after the id of its transaction';
	END IF;
END $$;

-- Seals what is final, by month, not more at once than a node waits for;
-- whether there is more.  The only writer of device_event_horizon.
CREATE OR REPLACE FUNCTION device_event_seal_step(p_domain integer) RETURNS boolean
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	h device_event_horizon%ROWTYPE;
	first bigint := (SELECT first_us FROM event_retention);
	sealed bigint := (SELECT coalesce(max(last_event), 0) FROM device_event_seal WHERE domain_id = p_domain);
	step CONSTANT integer := 50000;
	newest bigint;
	final bigint := 0;
	n bigint := 0;
	r record;
BEGIN
	PERFORM device_event_numbers_check();
	SELECT last_value - (NOT is_called)::integer INTO newest FROM device_event_event_id_seq;
	SELECT * INTO h FROM device_event_horizon WHERE domain_id = p_domain;
	IF FOUND AND h.before < pg_snapshot_xmax(pg_current_snapshot()) THEN
		IF h.before > pg_snapshot_xmin(pg_current_snapshot()) THEN
			RETURN false;
		END IF;
		final := h.event_id;
	END IF; -- (d) else it is of another cluster, or there is none: it proves nothing
	FOR r IN
		SELECT event_until(e.at_us, first) AS until_us, count(*) AS n, max(max(e.event_id)) OVER () AS id,
			sha256(convert_to(string_agg(concat_ws('|', e.event_id, e.device_id, e.at_us, e.kind, e.update_id,
				e.detail), E'\n' ORDER BY e.event_id), 'UTF8')) AS hash
		FROM (SELECT * FROM device_event x WHERE x.domain_id = p_domain AND x.event_id > sealed AND x.event_id <= final
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
		UPDATE device_event_horizon SET settled = greatest(settled, final) WHERE domain_id = p_domain;
		RETURN true;
	END IF;
	IF n = 0 AND final = newest AND h.settled = newest THEN
		RETURN false; -- nothing is new: no transaction id is spent
	END IF;
	INSERT INTO device_event_horizon (domain_id, event_id, before, settled, at_us)
	VALUES (p_domain, newest, pg_current_xact_id(), final, (extract(epoch FROM clock_timestamp()) * 1e6)::bigint)
	ON CONFLICT (domain_id) DO UPDATE SET event_id = EXCLUDED.event_id, before = EXCLUDED.before,
		settled = greatest(device_event_horizon.settled, EXCLUDED.settled), at_us = EXCLUDED.at_us;
	RETURN false;
END $$;

-- For how long the oldest events that are not final have waited, in any domain.
CREATE FUNCTION device_event_lag_us() RETURNS bigint
LANGUAGE sql STABLE AS $$
	SELECT coalesce(max((extract(epoch FROM clock_timestamp()) * 1e6)::bigint - at_us), 0)::bigint
	FROM device_event_horizon WHERE settled < event_id
$$;

-- Nodes read changes of devices by (txid, change_id).
CREATE INDEX device_change_order ON device_change (txid, change_id);
