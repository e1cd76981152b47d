-- Requests that are sent again: the answer of the first, kept for a day beside
-- the change it speaks of, by who asked and the key they gave.

CREATE TABLE request_key (
	domain_id    integer NOT NULL REFERENCES domain,
	principal    text NOT NULL,
	key          text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
	request      bytea NOT NULL,  -- SHA-256 of what was asked
	at           timestamptz NOT NULL DEFAULT now(),
	status       integer,         -- of the answer; NULL only before the commit
	content_type text,
	etag         text,
	response     bytea,
	PRIMARY KEY (domain_id, principal, key)
);
CREATE INDEX request_key_at ON request_key (domain_id, at);
SELECT of_domains('request_key');
GRANT SELECT, INSERT, UPDATE, DELETE ON request_key TO tam_admin;

-- A change of a named object must say which state of it is changed.
ALTER TABLE domain ADD preconditions boolean NOT NULL DEFAULT false;
GRANT UPDATE (preconditions) ON domain TO tam_admin;
