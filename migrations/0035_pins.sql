-- A proposal is bound to what it acts on: what that was when it was proposed is
-- kept with it and must still be so when it is done; and who proposed it must
-- still be somebody who may do it.

-- What takes two persons beside what always does where two_persons is set.
ALTER TABLE domain ADD two_persons_for text[] NOT NULL DEFAULT '{}'
	CHECK (two_persons_for <@ ARRAY['policy', 'channel', 'reference', 'rekey', 'import']);
GRANT UPDATE (two_persons_for) ON domain TO tam_admin;

ALTER TABLE proposal
	ADD pins jsonb NOT NULL DEFAULT '{}', -- what it acts on, and the hash of each
	ADD if_match text;                    -- what its author named as the state
-- The body is canonical JSON from now on: sorted keys, no blanks.  Rows from
-- before may be anything; they expire within a week.
ALTER TABLE proposal ADD CHECK (length(body) <= 1048576) NOT VALID;
UPDATE proposal SET expires_us = 0 WHERE state = 'pending';

-- The role of a person who may sign in now; NULL: there is none.
CREATE FUNCTION principal_role(p_domain integer, p_name text) RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
	SELECT role FROM principal WHERE domain_id = p_domain AND name = p_name
		AND p_domain = nullif(current_setting('tam.domain', true), '')::integer
		AND (expires_at IS NULL OR expires_at > clock_timestamp())
$$;
REVOKE ALL ON FUNCTION principal_role FROM PUBLIC;
GRANT EXECUTE ON FUNCTION principal_role TO tam_admin;

-- The roles that may do what a route that two persons can guard does.  The
-- API's table says the same; tests/system/test_two.sh compares them.
CREATE FUNCTION route_roles(p_route text) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE
		WHEN p_route IN ('rollout_start', 'rollout_resume', 'rollout_advance', 'policy_put', 'policy_delete',
			'policy_rollback', 'channel_put', 'channel_delete') THEN '{admin,policy-admin}'::text[]
		WHEN p_route = 'device_import' THEN '{admin,operator}'
		WHEN p_route IN ('revocation_create', 'revocation_lift', 'anchor_put', 'anchor_delete', 'verifier_put',
			'verifier_delete', 'device_ca_put', 'device_ca_delete', 'endorsement_put', 'endorsement_delete',
			'reference_put', 'reference_delete', 'domain_patch', 'device_rekey') THEN '{admin,security}'
		ELSE '{}' END
$$;

CREATE FUNCTION text_hash(VARIADIC p_texts text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT encode(sha256(convert_to(array_to_json(p_texts)::text, 'UTF8')), 'hex')
$$;

-- What people set of a domain, also what is added to it later.
CREATE FUNCTION domain_settings(d domain) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
	SELECT to_jsonb(d) - '{domain_id,incarnation,epoch,audit_seq,audit_hash,audit_at,created_at,suspended}'::text[]
$$;

-- The keys of the devices of these names, and what may become of others.
CREATE FUNCTION devices_hash(p_domain integer, p_names text[]) RETURNS text
LANGUAGE sql STABLE AS $$
	SELECT text_hash(VARIADIC array_agg(concat_ws(' ', d.name, d.device_id, d.status, encode(k.thumbprint, 'hex'))
		ORDER BY d.name, k.thumbprint))
	FROM device d LEFT JOIN device_key k USING (domain_id, device_id)
	WHERE d.domain_id = p_domain AND d.name = ANY (p_names)
$$;

-- What a request acts on: names as people say them, and a hash of how each is
-- now, NULL for what is not there.  Manifests are their own hash.
CREATE FUNCTION proposal_pins(p_domain integer, p_route text, p_params text[], p_body bytea) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	named CONSTANT text := p_params[1];
	doc CONSTANT jsonb := CASE WHEN length(p_body) > 0 THEN convert_from(p_body, 'UTF8')::jsonb ELSE '{}' END;
	kind CONSTANT text := CASE WHEN p_route LIKE 'device\_ca\_%' THEN 'device_ca' ELSE split_part(p_route, '_', 1) END;
	pins jsonb := '{}';
	r rollout%ROWTYPE;
	hash text;
BEGIN
	CASE kind
	WHEN 'rollout' THEN
		SELECT * INTO r FROM rollout x WHERE x.domain_id = p_domain AND x.name = named;
		pins := jsonb_build_object(
			'the document of rollout ' || named, text_hash(r.rollout_id::text, r.document::text),
			'the state of rollout ' || named, r.state || ' ' || r.opened);
		IF r.document ? 'policy' THEN
			SELECT text_hash(p.revision::text, p.document::text) INTO hash FROM policy p
			WHERE p.domain_id = p_domain AND p.name = r.document->>'policy';
			pins := pins || jsonb_build_object('policy ' || (r.document->>'policy'), hash);
		ELSIF r.document ? 'channel' THEN
			SELECT text_hash(c.revision::text, encode(c.digest, 'hex')) INTO hash FROM channel c
			WHERE c.domain_id = p_domain AND c.name = r.document->>'channel';
			pins := pins || jsonb_build_object('channel ' || (r.document->>'channel'), hash);
		END IF;
	WHEN 'policy' THEN
		SELECT text_hash(p.revision::text, p.document::text) INTO hash FROM policy p
		WHERE p.domain_id = p_domain AND p.name = named;
		pins := jsonb_build_object('policy ' || named, hash);
	WHEN 'channel' THEN
		SELECT text_hash(c.revision::text, encode(c.digest, 'hex')) INTO hash FROM channel c
		WHERE c.domain_id = p_domain AND c.name = named;
		pins := jsonb_build_object('channel ' || named, hash);
	WHEN 'revocation' THEN
		IF p_route = 'revocation_lift' THEN
			SELECT text_hash(v.target, v.label, v.reason, v.created_us::text, v.lifted_us::text) INTO hash FROM revocation v
			WHERE v.domain_id = p_domain AND v.revocation_id::text = named;
			pins := jsonb_build_object('revocation ' || named, hash);
		ELSIF doc ? 'signer' THEN
			SELECT text_hash(a::text) INTO hash FROM trust_anchor a
			WHERE a.domain_id = p_domain AND a.name = doc->>'signer';
			pins := jsonb_build_object('trust anchor ' || (doc->>'signer'), hash);
		END IF;
	WHEN 'anchor' THEN
		SELECT text_hash(x::text) INTO hash FROM trust_anchor x WHERE x.domain_id = p_domain AND x.name = named;
		pins := jsonb_build_object('trust anchor ' || named, hash);
	WHEN 'verifier' THEN
		SELECT text_hash(x::text) INTO hash FROM verifier x WHERE x.domain_id = p_domain AND x.name = named;
		pins := jsonb_build_object('Verifier ' || named, hash);
	WHEN 'endorsement' THEN
		SELECT text_hash(x::text) INTO hash FROM endorsement x WHERE x.domain_id = p_domain AND x.name = named;
		pins := jsonb_build_object('endorsement ' || named, hash);
	WHEN 'reference' THEN
		SELECT text_hash(x::text) INTO hash FROM reference_value x WHERE x.domain_id = p_domain AND x.name = named;
		pins := jsonb_build_object('reference value ' || named, hash);
	WHEN 'device_ca' THEN
		SELECT text_hash(x::text) INTO hash FROM device_ca x WHERE x.domain_id = p_domain AND x.name = named;
		pins := jsonb_build_object('device CA ' || named, hash);
	WHEN 'domain' THEN
		SELECT text_hash(domain_settings(d)::text) INTO hash FROM domain d WHERE d.domain_id = p_domain;
		pins := jsonb_build_object('the settings of the domain', hash);
	WHEN 'device' THEN
		SELECT text_hash(d.rekey) INTO hash FROM domain d WHERE d.domain_id = p_domain;
		pins := jsonb_build_object('rekey of the domain', hash);
		IF p_route = 'device_rekey' THEN
			SELECT text_hash(k.device_id::text, encode(k.public_key, 'hex')) INTO hash FROM device_rekey k
			WHERE k.domain_id = p_domain AND encode(k.thumbprint, 'hex') = doc->>'thumbprint';
			pins := pins || jsonb_build_object('device ' || named, devices_hash(p_domain, ARRAY[named]),
				'the key that waits', hash);
		ELSE
			pins := pins || jsonb_build_object('the devices it names', devices_hash(p_domain,
				ARRAY(SELECT l->>'name' FROM jsonb_array_elements(doc) AS l)));
		END IF;
	END CASE;
	RETURN pins;
END $$;

-- What of it is not as it was; a sentence for a person, NULL: nothing.
CREATE FUNCTION proposal_moved(p_old jsonb, p_new jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(key, ', ' ORDER BY key) FROM (SELECT key FROM jsonb_object_keys(p_old || p_new) AS k (key)
		WHERE p_old->key IS DISTINCT FROM p_new->key) x
$$;

-- As before; and a proposal is kept with how what it acts on is, is approved
-- only as long as that is so, and both persons' roles may do it.
CREATE OR REPLACE FUNCTION proposal_name() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	who text;
	moved text;
BEGIN
	IF current_user <> 'tam_admin' THEN
		RETURN NEW;
	END IF;
	who := actor_name(NEW.domain_id);
	IF who IS NULL OR TG_OP = 'INSERT' AND NEW.state NOT IN ('pending', 'alone')
		OR TG_OP = 'UPDATE' AND (OLD.state, NEW.state) NOT IN (('pending', 'approved'), ('pending', 'rejected'), ('alone', 'reviewed'))
		OR NEW.state IN ('alone', 'rejected') AND NEW.reason !~ '[^[:space:]]' THEN
		RAISE insufficient_privilege USING MESSAGE = 'no person signed in may do this';
	END IF;
	IF principal_role(NEW.domain_id, who) <> ALL (route_roles(NEW.route)) IS NOT FALSE THEN
		RAISE insufficient_privilege USING MESSAGE = format('the role of %s may not do this', who);
	END IF;
	IF TG_OP = 'INSERT' THEN
		NEW.author := who;
	ELSE
		NEW.decider := who;
	END IF;
	-- Every change takes this lock before it commits.
	PERFORM FROM domain WHERE domain_id = NEW.domain_id FOR NO KEY UPDATE;
	IF TG_OP = 'INSERT' THEN
		NEW.pins := proposal_pins(NEW.domain_id, NEW.route, NEW.params, NEW.body);
	ELSIF NEW.state = 'approved' THEN
		moved := proposal_moved(OLD.pins, proposal_pins(NEW.domain_id, NEW.route, NEW.params, NEW.body));
		IF moved IS NOT NULL THEN
			RAISE insufficient_privilege USING MESSAGE = 'changed since it was proposed: ' || moved;
		END IF;
		IF principal_role(NEW.domain_id, NEW.author) <> ALL (route_roles(NEW.route)) IS NOT FALSE THEN
			RAISE insufficient_privilege USING MESSAGE = format('%s, who proposed it, may not do this any more', NEW.author);
		END IF;
		IF NEW.expires_us < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint THEN
			RAISE insufficient_privilege USING MESSAGE = 'this proposal was not decided in time';
		END IF;
	END IF;
	NEW.acted := CASE WHEN NEW.state IN ('approved', 'alone') THEN pg_current_xact_id() END;
	RETURN NEW;
END $$;

-- As before; and it must be the same thing.  Arguments: the routes that may do
-- so; the sort of thing where the domain has to say that it is guarded, or '';
-- the column with what the route's path names, or ''.
CREATE OR REPLACE FUNCTION two_persons_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	old_row jsonb;
	new_row jsonb;
	id integer := CASE WHEN TG_OP = 'DELETE' THEN OLD.domain_id ELSE NEW.domain_id END;
BEGIN
	-- Others do what they do without a person, and may not read proposals.
	IF current_user <> 'tam_admin' OR NOT EXISTS (SELECT FROM domain d WHERE d.domain_id = id AND d.two_persons
		AND (TG_ARGV[1] = '' OR TG_ARGV[1] = ANY (d.two_persons_for))) THEN
		RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
	END IF;
	old_row := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
	new_row := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
	IF NOT EXISTS (SELECT FROM proposal p WHERE p.domain_id = id AND p.acted = pg_current_xact_id()
		AND p.route = ANY (string_to_array(TG_ARGV[0], ' '))
		AND (TG_ARGV[2] = '' OR coalesce(old_row->>TG_ARGV[2], p.params[1]) = p.params[1]
			AND coalesce(new_row->>TG_ARGV[2], p.params[1]) = p.params[1])) THEN
		RAISE insufficient_privilege USING MESSAGE = 'this takes two persons';
	END IF;
	RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;

DROP TRIGGER two_persons ON trust_anchor;
DROP TRIGGER two_persons ON verifier;
DROP TRIGGER two_persons ON device_ca;
DROP TRIGGER two_persons ON endorsement;
DROP TRIGGER two_persons ON revocation;
DROP TRIGGER two_persons ON rollout;
DROP TRIGGER two_persons ON domain;
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE ON trust_anchor
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('anchor_put', '', 'name');
CREATE TRIGGER two_persons_gone BEFORE DELETE ON trust_anchor
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('anchor_delete', '', 'name');
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE ON verifier
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('verifier_put', '', 'name');
CREATE TRIGGER two_persons_gone BEFORE DELETE ON verifier
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('verifier_delete', '', 'name');
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE ON device_ca
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('device_ca_put', '', 'name');
CREATE TRIGGER two_persons_gone BEFORE DELETE ON device_ca
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('device_ca_delete', '', 'name');
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE ON endorsement
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('endorsement_put', '', 'name');
CREATE TRIGGER two_persons_gone BEFORE DELETE ON endorsement
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('endorsement_delete', '', 'name');
CREATE TRIGGER two_persons_new BEFORE INSERT ON revocation
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('revocation_create', '', '');
CREATE TRIGGER two_persons BEFORE UPDATE OR DELETE ON revocation
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('revocation_lift', '', 'revocation_id');
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE ON policy
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('policy_put policy_rollback', 'policy', 'name');
CREATE TRIGGER two_persons_gone BEFORE DELETE ON policy
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('policy_delete', 'policy', 'name');
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE ON channel
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('channel_put', 'channel', 'name');
CREATE TRIGGER two_persons_gone BEFORE DELETE ON channel
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('channel_delete', 'channel', 'name');
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE ON reference_value
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('reference_put', 'reference', 'name');
CREATE TRIGGER two_persons_gone BEFORE DELETE ON reference_value
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('reference_delete', 'reference', 'name');
CREATE TRIGGER two_persons BEFORE UPDATE ON rollout
	FOR EACH ROW WHEN (NEW.state = 'running' AND OLD.state <> 'running' OR NEW.opened > OLD.opened)
	EXECUTE FUNCTION two_persons_guard('rollout_start rollout_resume rollout_advance', '', 'name');
CREATE TRIGGER two_persons BEFORE UPDATE ON domain
	FOR EACH ROW WHEN (OLD.two_persons AND domain_settings(OLD) IS DISTINCT FROM domain_settings(NEW))
	EXECUTE FUNCTION two_persons_guard('domain_patch', '', '');
-- A device is new by an import.  A key beside, or in the place of, one that a
-- device has is a rekey; the first key of a new device is part of its import.
CREATE TRIGGER two_persons_new BEFORE INSERT ON device
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('device_import', 'import', '');
CREATE TRIGGER two_persons BEFORE UPDATE OR DELETE ON device_key
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('device_rekey', 'rekey', '');
CREATE FUNCTION device_has_key(p_domain integer, p_device bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
	SELECT EXISTS (SELECT FROM device_key WHERE domain_id = p_domain AND device_id = p_device)
$$;
CREATE TRIGGER two_persons_new BEFORE INSERT ON device_key
	FOR EACH ROW WHEN (device_has_key(NEW.domain_id, NEW.device_id))
	EXECUTE FUNCTION two_persons_guard('device_rekey', 'rekey', '');
