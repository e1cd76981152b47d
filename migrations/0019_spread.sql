-- A revocation is in force when nodes know it; who was affected at that moment
-- is found out afterwards, a part of the fleet at a time, and never delays it.
ALTER TABLE revocation
	ADD digests bytea[] NOT NULL DEFAULT '{}',      -- beside components: only this image; '\x' any
	ADD spread_after bigint NOT NULL DEFAULT 0,     -- devices up to here were looked at
	ADD spread_done boolean NOT NULL DEFAULT true;
CREATE INDEX revocation_spreading ON revocation (domain_id, revocation_id) WHERE NOT spread_done;
GRANT UPDATE (spread_after, spread_done) ON revocation TO tam_wire;
DROP FUNCTION revocation_spread;

-- One step for the oldest revocation that is not through; whether there is
-- more to do.  Locks devices in the order of the device path.
CREATE FUNCTION revocation_spread_step(p_now_us bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	r revocation%ROWTYPE;
	ids bigint[];
	under_way bigint[] := '{}';
	step CONSTANT integer := 5000;
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
	ids := ARRAY(SELECT DISTINCT x.device_id FROM unnest(r.components, r.digests) AS t (component, digest),
		LATERAL (SELECT c.device_id FROM device_component c
			WHERE c.domain_id = r.domain_id AND c.component = t.component AND c.device_id > r.spread_after
				AND (t.digest = '\x' OR c.digest IS NULL OR c.digest = t.digest)
			ORDER BY c.device_id LIMIT step) x
		ORDER BY x.device_id LIMIT step);
	UPDATE revocation v SET spread_done = cardinality(ids) < step,
		spread_after = CASE WHEN cardinality(ids) = 0 THEN v.spread_after ELSE ids[cardinality(ids)] END
	WHERE v.domain_id = r.domain_id AND v.revocation_id = r.revocation_id;
	ids := ids || under_way;
	PERFORM FROM device_seen s WHERE s.domain_id = r.domain_id AND s.device_id = ANY (ids)
	ORDER BY s.device_id FOR UPDATE;
	INSERT INTO revocation_device (domain_id, revocation_id, device_id, affected_us)
	SELECT DISTINCT r.domain_id, r.revocation_id, d.id, r.created_us FROM unnest(ids) AS d (id)
	ON CONFLICT DO NOTHING;
	-- Their next answer is looked at whole, whatever it shows.
	UPDATE device_seen s SET open_work = true, version = s.version + 1
	WHERE s.domain_id = r.domain_id AND s.device_id = ANY (ids);
	RETURN true;
END $$;
