-- Cluster time: what stamps, token keys, leases, expiry and chores go by.  It is
-- the database's clock, but never behind the last lease: after a failover to a
-- slower clock nothing that was done lies in the future.  While the clock is
-- behind, cluster time runs at nine tenths of its speed until they meet.
CREATE TABLE cluster_clock (
	one     boolean PRIMARY KEY DEFAULT true CHECK (one),
	last_us bigint NOT NULL, -- cluster time at the last lease
	db_us   bigint NOT NULL  -- the database's clock then
) WITH (fillfactor = 20);
INSERT INTO cluster_clock (last_us, db_us)
SELECT t.now, t.now FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint AS now) t;
GRANT SELECT, UPDATE ON cluster_clock TO tam_wire;
GRANT SELECT ON cluster_clock TO tam_admin;

CREATE FUNCTION database_us() RETURNS bigint
LANGUAGE sql VOLATILE AS $$
	SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint
$$;
CREATE FUNCTION cluster_us() RETURNS bigint
LANGUAGE sql VOLATILE AS $$
	SELECT greatest(t.now, c.last_us + greatest(t.now - c.db_us, 0) * 9 / 10)
	FROM cluster_clock c, (SELECT database_us() AS now) t
$$;

-- No statement stores a stamp from the future: devices would be silent until
-- that time has come.  2 s: what a node may be ahead between two leases.
-- What was stored by a wrong clock before is taken back.
UPDATE device_seen SET stamp_us = least(stamp_us, cluster_us()), barrier_us = least(barrier_us, cluster_us())
WHERE greatest(stamp_us, barrier_us) > cluster_us();
UPDATE device_attestation SET stamp_us = cluster_us() WHERE stamp_us > cluster_us();
CREATE FUNCTION stamp_check() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.stamp_us > cluster_us() + 2000000 THEN
		RAISE datetime_field_overflow USING MESSAGE = 'a stamp from the future';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER stamp_check BEFORE UPDATE OF stamp_us ON device_seen FOR EACH ROW
	WHEN (NEW.stamp_us > (extract(epoch FROM clock_timestamp()) * 1e6)::bigint + 2000000)
	EXECUTE FUNCTION stamp_check();
CREATE TRIGGER stamp_check BEFORE INSERT OR UPDATE OF stamp_us ON device_attestation FOR EACH ROW
	WHEN (NEW.stamp_us > (extract(epoch FROM clock_timestamp()) * 1e6)::bigint + 2000000)
	EXECUTE FUNCTION stamp_check();

CREATE OR REPLACE FUNCTION event_tend() RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
	SELECT event_tend(cluster_us())
$$;
