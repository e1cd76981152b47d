-- A key that is published before it signs: devices learn it first.
ALTER TABLE tam_key DROP CONSTRAINT tam_key_use_check;
ALTER TABLE tam_key ADD CONSTRAINT tam_key_use_check CHECK (use IN ('sign', 'next', 'agree', 'verify'));
