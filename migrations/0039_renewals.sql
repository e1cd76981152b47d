-- A renewal of a lease carries a number that grows, so that a statement that
-- was given up and arrives late never overwrites a newer one.  The upper half
-- is the run of the node, the lower half counts its renewals.
ALTER TABLE node_lease ADD renewal bigint NOT NULL DEFAULT 0;
CREATE SEQUENCE node_run_seq;
GRANT USAGE ON SEQUENCE node_run_seq TO tam_wire;
