-- Two persons, held to by the database: who signed in is known to it by their
-- token, and what is guarded changes only in a transaction in which a second
-- person approved it, or one person did it alone and said why.

-- Who acts in a transaction; nobody but actor_bind() writes it.
CREATE UNLOGGED TABLE request_actor (
	txid      xid8 PRIMARY KEY,
	domain_id integer NOT NULL,
	name      text NOT NULL
);
ALTER TABLE request_actor ENABLE ROW LEVEL SECURITY;
ALTER TABLE request_actor FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON request_actor TO CURRENT_USER USING (true) WITH CHECK (true);

CREATE FUNCTION actor_bind(p_hash bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
	DELETE FROM request_actor WHERE txid < pg_snapshot_xmin(pg_current_snapshot());
	INSERT INTO request_actor SELECT pg_current_xact_id(), p.domain_id, p.name FROM principal p
	WHERE p.token_hash = p_hash AND (p.expires_at IS NULL OR p.expires_at > clock_timestamp())
	ON CONFLICT DO NOTHING;
$$;
CREATE FUNCTION actor_name(p_domain integer) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
	SELECT name FROM request_actor WHERE txid = pg_current_xact_id_if_assigned() AND domain_id = p_domain
$$;
REVOKE ALL ON FUNCTION actor_bind, actor_name FROM PUBLIC;
GRANT EXECUTE ON FUNCTION actor_bind, actor_name TO tam_admin;
-- Nor does the role of the API read, or make, who may sign in.
REVOKE ALL ON principal FROM tam_admin;

ALTER TABLE proposal ADD acted xid8; -- the transaction that does what was proposed

-- A proposal is in the name of who signed in, and so is what becomes of it.
CREATE FUNCTION proposal_name() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	who text;
BEGIN
	IF current_user <> 'tam_admin' THEN
		RETURN NEW;
	END IF;
	who := actor_name(NEW.domain_id);
	IF who IS NULL OR TG_OP = 'INSERT' AND NEW.state NOT IN ('pending', 'alone')
		OR TG_OP = 'UPDATE' AND (OLD.state, NEW.state) NOT IN (('pending', 'approved'), ('pending', 'rejected'), ('alone', 'reviewed'))
		OR NEW.state = 'alone' AND NEW.reason = '' THEN
		RAISE insufficient_privilege USING MESSAGE = 'no person signed in may do this';
	END IF;
	IF TG_OP = 'INSERT' THEN
		NEW.author := who;
	ELSE
		NEW.decider := who;
	END IF;
	NEW.acted := CASE WHEN NEW.state IN ('approved', 'alone') THEN pg_current_xact_id() END;
	RETURN NEW;
END $$;
CREATE TRIGGER proposal_name BEFORE INSERT OR UPDATE ON proposal FOR EACH ROW EXECUTE FUNCTION proposal_name();

-- The one place: what the API's role changes of these tables.  The argument is
-- what the routes that may do so are called.
CREATE FUNCTION two_persons_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
	id integer := CASE WHEN TG_OP = 'DELETE' THEN OLD.domain_id ELSE NEW.domain_id END;
BEGIN
	-- Others do what they do without a person, and may not read proposals.
	IF current_user <> 'tam_admin' THEN
		RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
	END IF;
	IF (SELECT d.two_persons FROM domain d WHERE d.domain_id = id) AND NOT EXISTS (SELECT FROM proposal p WHERE p.domain_id = id AND p.acted = pg_current_xact_id()
			AND starts_with(p.route, TG_ARGV[0])) THEN
		RAISE insufficient_privilege USING MESSAGE = 'this takes two persons';
	END IF;
	RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE INDEX proposal_acted ON proposal (domain_id, acted) WHERE acted IS NOT NULL;

CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE OR DELETE ON revocation
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('revocation_');
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE OR DELETE ON trust_anchor
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('anchor_');
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE OR DELETE ON verifier
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('verifier_');
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE OR DELETE ON device_ca
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('device_ca_');
CREATE TRIGGER two_persons BEFORE INSERT OR UPDATE OR DELETE ON endorsement
	FOR EACH ROW EXECUTE FUNCTION two_persons_guard('endorsement_');
CREATE TRIGGER two_persons BEFORE UPDATE ON rollout
	FOR EACH ROW WHEN (NEW.state = 'running' AND OLD.state <> 'running' OR NEW.opened > OLD.opened)
	EXECUTE FUNCTION two_persons_guard('rollout_');
-- Only a draft is made, and only a draft can change what it says.
CREATE FUNCTION rollout_is_draft() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF current_user = 'tam_admin' THEN
		RAISE insufficient_privilege USING MESSAGE = 'only a draft can be written';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER drafted BEFORE INSERT ON rollout FOR EACH ROW WHEN (NEW.state <> 'draft' OR NEW.opened <> 0)
	EXECUTE FUNCTION rollout_is_draft();
CREATE TRIGGER kept BEFORE UPDATE ON rollout FOR EACH ROW WHEN (NEW.document <> OLD.document AND OLD.state <> 'draft')
	EXECUTE FUNCTION rollout_is_draft();
CREATE TRIGGER two_persons BEFORE UPDATE ON domain
	FOR EACH ROW WHEN (OLD.two_persons AND (OLD.enrol, OLD.enrol_status, OLD.enrol_class, OLD.rekey, OLD.two_persons,
		OLD.passport_s, OLD.teep_profile) IS DISTINCT FROM (NEW.enrol, NEW.enrol_status, NEW.enrol_class, NEW.rekey,
		NEW.two_persons, NEW.passport_s, NEW.teep_profile))
	EXECUTE FUNCTION two_persons_guard('domain_');
