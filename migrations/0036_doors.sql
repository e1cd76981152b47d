-- A state has one door: who may put a device into quarantine, or out of use, may
-- take it out again, and nobody else, whichever request it is.  A second key of
-- a device has one, too.

CREATE FUNCTION device_state_roles(p_status text) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN p_status IN ('quarantined', 'decommissioned') THEN '{admin,security}'::text[]
		ELSE '{admin,operator,security}' END
$$;

-- Who acts in this transaction has one of these roles; and so has who proposed
-- what another approved in it.
CREATE FUNCTION acting_may(p_domain integer, p_roles text[]) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(principal_role(p_domain, actor_name(p_domain)) = ANY (p_roles), false)
		AND NOT EXISTS (SELECT FROM proposal p WHERE p.domain_id = p_domain AND p.acted = pg_current_xact_id()
			AND p.state = 'approved' AND coalesce(principal_role(p_domain, p.author) <> ALL (p_roles), true))
$$;

CREATE FUNCTION device_state_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	state text := NEW.status;
BEGIN
	IF current_user <> 'tam_admin' THEN
		RETURN NEW;
	END IF;
	IF TG_OP = 'UPDATE' AND OLD.status IN ('quarantined', 'decommissioned') THEN
		state := OLD.status;
	END IF;
	IF NOT acting_may(NEW.domain_id, device_state_roles(state)) OR NOT acting_may(NEW.domain_id, device_state_roles(NEW.status)) THEN
		RAISE insufficient_privilege USING MESSAGE = format('device %s %s: that takes one of the roles %s', NEW.name,
			CASE WHEN state = NEW.status THEN 'would be ' ELSE 'is ' END || state,
			array_to_string(device_state_roles(state), ', '));
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER state_new BEFORE INSERT ON device
	FOR EACH ROW WHEN (NEW.status IN ('quarantined', 'decommissioned')) EXECUTE FUNCTION device_state_guard();
CREATE TRIGGER state_changed BEFORE UPDATE ON device
	FOR EACH ROW WHEN (OLD.status <> NEW.status AND (OLD.status IN ('quarantined', 'decommissioned')
		OR NEW.status IN ('quarantined', 'decommissioned'))) EXECUTE FUNCTION device_state_guard();

CREATE FUNCTION device_key_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	id integer := CASE WHEN TG_OP = 'DELETE' THEN OLD.domain_id ELSE NEW.domain_id END;
BEGIN
	IF current_user = 'tam_admin' AND NOT acting_may(id, route_roles('device_rekey')) THEN
		RAISE insufficient_privilege USING MESSAGE = format('another key for a known device takes one of the roles %s',
			array_to_string(route_roles('device_rekey'), ', '));
	END IF;
	RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER key_changed BEFORE UPDATE OR DELETE ON device_key
	FOR EACH ROW EXECUTE FUNCTION device_key_guard();
CREATE TRIGGER key_new BEFORE INSERT ON device_key
	FOR EACH ROW WHEN (device_has_key(NEW.domain_id, NEW.device_id)) EXECUTE FUNCTION device_key_guard();
-- A key that an import brings waits as one that a device showed.
GRANT INSERT ON device_rekey TO tam_admin;

-- An import creates.  A known name with its key changes class and labels, where
-- they are given; with another key it is a rekey.
CREATE OR REPLACE FUNCTION device_import(p_domain integer, p_docs jsonb)
	RETURNS TABLE (n integer, status text, detail text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	doc jsonb;
	d device%ROWTYPE;
	owner bigint;
	key bytea;
	way text;
	may_rekey CONSTANT boolean := acting_may(p_domain, route_roles('device_rekey'));
	may_shut CONSTANT boolean := acting_may(p_domain, device_state_roles('quarantined'));
BEGIN
	SELECT CASE WHEN x.rekey = 'auto' AND (NOT may_rekey OR x.two_persons AND 'rekey' = ANY (x.two_persons_for)) THEN 'pending'
		ELSE x.rekey END INTO way FROM domain x WHERE x.domain_id = p_domain;
	FOR n, doc IN SELECT ordinality, value FROM jsonb_array_elements(p_docs) WITH ORDINALITY LOOP
		status := 'error';
		key := decode(doc->>'thumbprint', 'hex');
		owner := NULL;
		SELECT k.device_id INTO owner FROM device_key k WHERE k.domain_id = p_domain AND k.thumbprint = key;
		SELECT * INTO d FROM device x WHERE x.domain_id = p_domain AND x.name = doc->>'name' FOR UPDATE;
		detail := CASE
			WHEN owner IS NOT NULL AND owner IS DISTINCT FROM d.device_id THEN 'another device has this key'
			WHEN EXISTS (SELECT FROM device_rekey w WHERE w.domain_id = p_domain AND w.thumbprint = key
				AND w.device_id IS DISTINCT FROM d.device_id) THEN 'this key waits for a decision about another device'
			WHEN d.device_id IS NULL THEN
				CASE WHEN doc->>'status' IN ('quarantined', 'decommissioned') AND NOT may_shut
					THEN 'this role may not import a device that is ' || (doc->>'status') END
			WHEN d.status = 'decommissioned' THEN 'this device is decommissioned'
			WHEN doc->>'status' <> d.status THEN format('this device is %s: an import does not change that', d.status)
			WHEN (doc->>'update_bytes')::integer IS DISTINCT FROM d.update_bytes AND doc ? 'update_bytes' THEN
				'an import does not change update_bytes of a known device'
			WHEN owner IS NOT NULL THEN NULL
			WHEN d.status = 'quarantined' THEN 'this device is quarantined: it gets no other key'
			WHEN way = 'refuse' THEN 'this device has another key, and the domain refuses new ones (rekey)'
		END;
		IF detail IS NOT NULL THEN
			RETURN NEXT;
			CONTINUE;
		END IF;
		IF d.device_id IS NOT NULL AND owner IS NULL AND way = 'pending' THEN
			INSERT INTO device_rekey VALUES (p_domain, key, d.device_id, doc->>'curve', decode(doc->>'public_key', 'hex'),
				(extract(epoch FROM clock_timestamp()) * 1000000)::bigint) ON CONFLICT DO NOTHING;
			status := 'pending';
			detail := 'its key waits for a decision; nothing else was changed';
			RETURN NEXT;
			CONTINUE;
		END IF;
		IF d.device_id IS NULL THEN
			status := 'created';
			INSERT INTO device (domain_id, name, class, status, update_bytes) VALUES (p_domain, doc->>'name',
				coalesce(doc->>'class', ''), coalesce(doc->>'status', 'active'), (doc->>'update_bytes')::integer)
			RETURNING * INTO d;
			INSERT INTO device_seen (domain_id, device_id) VALUES (p_domain, d.device_id);
			INSERT INTO device_key VALUES (p_domain, key, d.device_id, doc->>'curve', decode(doc->>'public_key', 'hex'));
		ELSE
			status := 'updated';
			UPDATE device x SET class = coalesce(doc->>'class', x.class) WHERE x.domain_id = p_domain AND x.device_id = d.device_id;
			IF owner IS NULL THEN
				status := 'rekeyed';
				PERFORM device_rekey_apply(p_domain, d.device_id, key, doc->>'curve', decode(doc->>'public_key', 'hex'));
			ELSE
				PERFORM device_touch(p_domain, d.device_id);
			END IF;
		END IF;
		IF doc ? 'labels' THEN
			DELETE FROM device_label l WHERE l.domain_id = p_domain AND l.device_id = d.device_id;
			INSERT INTO device_label (domain_id, key, value, device_id)
			SELECT p_domain, l.key, l.value, d.device_id FROM jsonb_each_text(doc->'labels') AS l (key, value);
		END IF;
		RETURN NEXT;
	END LOOP;
END $$;
