-- Least privilege.  tam_wire: the device path and the control thread.
-- tam_admin: one transaction per request, bound to one domain by row-level
-- security, which fails closed when tam.domain is not set.

DO $$
DECLARE
	r text;
BEGIN
	FOREACH r IN ARRAY ARRAY['tam_wire', 'tam_admin'] LOOP
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) THEN
			BEGIN
				EXECUTE format('CREATE ROLE %I NOLOGIN', r);
			EXCEPTION WHEN duplicate_object OR unique_violation THEN
				NULL; -- another database of this cluster was faster
			END;
		END IF;
	END LOOP;
END $$;

GRANT USAGE ON SCHEMA public TO tam_wire, tam_admin;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO tam_wire;
GRANT INSERT, UPDATE, DELETE ON device_component, revocation_device, node_lease, token_key, device_change TO tam_wire;
GRANT INSERT, UPDATE ON device_seen, outstanding_update TO tam_wire;
GRANT INSERT ON device_event, device_event_seal, audit_event TO tam_wire;
GRANT UPDATE (audit_seq, audit_hash) ON domain TO tam_wire;
GRANT UPDATE (in_force_us) ON revocation TO tam_wire;

GRANT SELECT, INSERT, UPDATE, DELETE ON wire_profile, trust_anchor, policy, device, device_key, device_label,
	device_component, device_seen, principal TO tam_admin;
GRANT SELECT, INSERT, UPDATE ON revocation, revocation_device, manifest TO tam_admin;
GRANT SELECT, INSERT ON policy_revision, audit_event, device_change TO tam_admin;
GRANT SELECT ON device_event, device_event_seal, outstanding_update, tam_key, domain, node_lease TO tam_admin;
GRANT UPDATE (audit_seq, audit_hash, epoch) ON domain TO tam_admin;
GRANT USAGE ON SEQUENCE device_id_seq TO tam_admin;

DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['domain', 'wire_profile', 'tam_key', 'node_lease', 'trust_anchor', 'manifest', 'policy',
		'policy_revision', 'principal', 'device', 'device_key', 'device_label', 'device_seen', 'device_component',
		'outstanding_update', 'revocation', 'revocation_device', 'device_change', 'audit_event', 'device_event',
		'device_event_seal'] LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY wire ON %I TO tam_wire USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY owner ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
		EXECUTE format('CREATE POLICY admin ON %I TO tam_admin
			USING (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)
			WITH CHECK (domain_id = nullif(current_setting(''tam.domain'', true), '''')::integer)', t);
	END LOOP;
END $$;

-- Signing in happens before the domain is known: by hash of the token only.
CREATE FUNCTION sign_in(p_hash bytea) RETURNS TABLE (domain_id integer, domain text, name text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
	SELECT p.domain_id, d.name, p.name, p.role FROM principal p JOIN domain d USING (domain_id)
	WHERE p.token_hash = p_hash AND (p.expires_at IS NULL OR p.expires_at > clock_timestamp())
$$;
REVOKE ALL ON FUNCTION sign_in FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sign_in TO tam_admin;
