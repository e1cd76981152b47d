-- Where a domain asks for two persons, what one of them asked for waits here
-- for another; what was done by one alone waits for its review.
ALTER TABLE domain ADD two_persons boolean NOT NULL DEFAULT false;
GRANT UPDATE (two_persons) ON domain TO tam_admin;
CREATE TABLE proposal (
	domain_id   integer NOT NULL REFERENCES domain,
	proposal_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
	route       text NOT NULL,      -- its name in the API's table
	params      text[] NOT NULL,    -- of its path
	query       text NOT NULL,
	body        bytea NOT NULL,
	author      text NOT NULL,
	state       text NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'alone', 'reviewed')),
	reason      text NOT NULL DEFAULT '', -- of who did it alone, or rejected it
	decider     text,
	created_us  bigint NOT NULL,
	expires_us  bigint NOT NULL,
	decided_us  bigint,
	PRIMARY KEY (domain_id, proposal_id),
	CHECK (decider <> author)
);
ALTER TABLE proposal ENABLE ROW LEVEL SECURITY;
ALTER TABLE proposal FORCE ROW LEVEL SECURITY;
CREATE POLICY wire ON proposal TO tam_wire USING (true) WITH CHECK (true);
CREATE POLICY owner ON proposal TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY admin ON proposal TO tam_admin
	USING (domain_id = nullif(current_setting('tam.domain', true), '')::integer)
	WITH CHECK (domain_id = nullif(current_setting('tam.domain', true), '')::integer);
GRANT SELECT, INSERT ON proposal TO tam_admin;
GRANT UPDATE (state, decider, decided_us, reason) ON proposal TO tam_admin;
