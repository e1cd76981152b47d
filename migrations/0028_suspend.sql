-- A domain that is suspended: its devices are told to come later, and nobody
-- changes anything in it.
ALTER TABLE domain ADD suspended text; -- why; NULL: it is not
