-- What changes the states of transactions, multixacts and the times of commits, and
-- removes pages of them.

CREATE TABLE rows (id int PRIMARY KEY, n int);
INSERT INTO rows SELECT g, 0 FROM generate_series(1, 100) g;
CREATE TABLE burnt (n int);

-- Commits and aborts, with a few subtransactions and with many.
BEGIN;
INSERT INTO burnt VALUES (1);
ROLLBACK;
BEGIN;
INSERT INTO burnt VALUES (2);
SAVEPOINT a;
INSERT INTO burnt VALUES (3);
SAVEPOINT b;
INSERT INTO burnt VALUES (4);
ROLLBACK TO a;
INSERT INTO burnt VALUES (5);
RELEASE a;
DROP TABLE IF EXISTS no_such_table;
CREATE TABLE made (n int);
COMMIT;
BEGIN;
DROP TABLE made;
SAVEPOINT a;
INSERT INTO burnt VALUES (6);
COMMIT;
CREATE PROCEDURE burn(times int, keep int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..times LOOP
    BEGIN
      INSERT INTO burnt VALUES (i);
      IF keep = 0 OR i % keep <> 0 THEN
        RAISE EXCEPTION 'away';
      END IF;
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
  END LOOP;
END $$;
CALL burn(200, 1);
CALL burn(200, 3);
BEGIN;
CALL burn(100, 2);
ROLLBACK;
-- Over several pages.
CALL burn(36000, 1);
BEGIN;
CALL burn(36000, 1);
ROLLBACK;
SET synchronous_commit = on;
INSERT INTO burnt VALUES (7);
SET synchronous_commit = off;
INSERT INTO burnt VALUES (8);

-- Prepared transactions.
BEGIN;
INSERT INTO burnt VALUES (9);
SAVEPOINT a;
INSERT INTO burnt VALUES (10);
PREPARE TRANSACTION 'one that commits';
BEGIN;
CALL burn(100, 1);
CREATE TABLE never (n int);
PREPARE TRANSACTION 'one that aborts';
ROLLBACK PREPARED 'one that aborts';
COMMIT PREPARED 'one that commits';
BEGIN;
CALL burn(2000, 1);
PREPARE TRANSACTION 'with many';
COMMIT PREPARED 'with many';

-- Origins.
SELECT pg_replication_origin_create('elsewhere');
\session o
SELECT pg_replication_origin_session_setup('elsewhere');
BEGIN;
SELECT pg_replication_origin_xact_setup('1/2345678', '2024-02-29 12:34:56.789+00');
INSERT INTO burnt VALUES (11);
SAVEPOINT a;
INSERT INTO burnt VALUES (12);
COMMIT;
BEGIN;
SELECT pg_replication_origin_xact_setup('1/2345680', '2024-02-29 12:34:57+00');
INSERT INTO burnt VALUES (13);
PREPARE TRANSACTION 'from elsewhere';
COMMIT PREPARED 'from elsewhere';
BEGIN;
SELECT pg_replication_origin_xact_setup('1/2345690', '2024-02-29 12:34:58+00');
INSERT INTO burnt VALUES (14);
ROLLBACK;
SELECT pg_replication_origin_session_reset();
\close o

-- Multixacts: members of every status.
BEGIN;
SELECT id FROM rows WHERE id <= 9 FOR KEY SHARE;
\session b
BEGIN;
SELECT id FROM rows WHERE id BETWEEN 1 AND 3 FOR SHARE;
SELECT id FROM rows WHERE id BETWEEN 4 AND 5 FOR NO KEY UPDATE;
UPDATE rows SET n = n + 1 WHERE id BETWEEN 6 AND 7;
SAVEPOINT a;
UPDATE rows SET n = n + 1 WHERE id = 4;
\session c
BEGIN;
SELECT id FROM rows WHERE id BETWEEN 1 AND 2 FOR SHARE;
SELECT id FROM rows WHERE id BETWEEN 3 AND 7 FOR KEY SHARE;
\session d
BEGIN;
SELECT id FROM rows WHERE id BETWEEN 1 AND 7 FOR KEY SHARE;
COMMIT;
\session c
COMMIT;
\session b
COMMIT;
\session main
SELECT id FROM rows WHERE id = 9 FOR UPDATE;
COMMIT;
-- One transaction that locks and updates, in parts.
BEGIN;
SELECT id FROM rows WHERE id = 20 FOR KEY SHARE;
SAVEPOINT a;
SELECT id FROM rows WHERE id = 20 FOR UPDATE;
SAVEPOINT b;
UPDATE rows SET id = 2000 WHERE id = 20;
SELECT id FROM rows WHERE id = 21 FOR SHARE;
SAVEPOINT c;
DELETE FROM rows WHERE id = 21;
COMMIT;

-- Many of them, over a whole file of offsets and more: another session holds a lock,
-- to which subtransactions that are given up add theirs. Some hold on to theirs, and so
-- multixacts have many members.
CREATE PROCEDURE lock_often(times int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..times LOOP
    BEGIN
      PERFORM id FROM rows WHERE id = 50 FOR KEY SHARE;
      RAISE EXCEPTION 'away';
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
  END LOOP;
END $$;
CREATE PROCEDURE lock_and_hold(times int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..times LOOP
    BEGIN
      PERFORM id FROM rows WHERE id = 51 FOR KEY SHARE;
    EXCEPTION WHEN raise_exception THEN NULL;
    END;
  END LOOP;
END $$;
\session b
BEGIN;
SELECT id FROM rows WHERE id IN (50, 51) FOR KEY SHARE;
\session main
CALL lock_often(34000);
CALL lock_often(34000);
CALL lock_and_hold(120);
\session b
COMMIT;
\session main

\middle
-- All frozen: the oldest files go.
VACUUM FREEZE;
ALTER DATABASE template0 ALLOW_CONNECTIONS true;
\session template0 dbname=template0
VACUUM FREEZE;
\close template0
\session template1 dbname=template1
VACUUM FREEZE;
\close template1
ALTER DATABASE template0 ALLOW_CONNECTIONS false;
VACUUM FREEZE;
INSERT INTO burnt VALUES (15);

-- Times of commits are no longer kept, and are again.
\restart track_commit_timestamp=off
CALL burn(900, 1);
\restart track_commit_timestamp=on
CALL burn(900, 1);
BEGIN;
SELECT id FROM rows WHERE id = 60 FOR SHARE;
\session b
BEGIN;
SELECT id FROM rows WHERE id = 60 FOR KEY SHARE;
\crash
SELECT id FROM rows WHERE id = 60 FOR KEY SHARE;
CALL burn(50, 2);
\restart max_connections=90
CALL burn(900, 1);
