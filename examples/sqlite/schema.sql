-- LSNs are byte positions: lsn() of the views writes them as PostgreSQL does.

CREATE TABLE position (           -- one row: up to where everything is here
  format    INTEGER NOT NULL,
  system_id TEXT    NOT NULL,
  timeline  INTEGER NOT NULL,
  lsn       INTEGER NOT NULL,
  first_lsn INTEGER NOT NULL      -- from where on
);

CREATE TABLE record (
  start_lsn INTEGER PRIMARY KEY,
  end_lsn   INTEGER NOT NULL,
  timeline  INTEGER NOT NULL,
  xid       INTEGER NOT NULL,     -- 0: of no transaction
  rmgr      TEXT    NOT NULL,     -- both as pg_waldump names them
  operation TEXT    NOT NULL,
  length    INTEGER NOT NULL,     -- bytes, with page images
  images    INTEGER NOT NULL,     -- bytes of page images
  time      TEXT                  -- of COMMIT, ABORT and PREPARE, UTC
);

CREATE TABLE block (              -- what a record refers to
  start_lsn  INTEGER NOT NULL REFERENCES record,
  id         INTEGER NOT NULL,
  tablespace INTEGER NOT NULL,
  database   INTEGER NOT NULL,
  relation   INTEGER NOT NULL,    -- pg_class.relfilenode
  fork       INTEGER NOT NULL,    -- 0 main, 1 fsm, 2 vm, 3 init
  block      INTEGER NOT NULL,
  image      INTEGER NOT NULL,    -- bytes, 0: none
  PRIMARY KEY (start_lsn, id)
) WITHOUT ROWID;

CREATE VIEW wal AS
  SELECT format('%X/%X', start_lsn >> 32, start_lsn & 4294967295) AS lsn, record.* FROM record;
