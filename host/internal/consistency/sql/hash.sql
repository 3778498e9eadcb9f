-- Hash, with longer chains than the workload has them. Images are made of its
-- pages alone, and while pages only fill, of none.
SET wal_consistency_checking = 'hash';

-- Buckets split as tuples come.
CREATE TABLE hash_many (k int, n int);
VACUUM hash_many;
CREATE INDEX hash_many_k ON hash_many USING hash (k) WITH (fillfactor = 20);
INSERT INTO hash_many SELECT g, g FROM generate_series(1, 700) g;
DELETE FROM hash_many WHERE n % 3 = 0;
VACUUM hash_many;
INSERT INTO hash_many SELECT g, g FROM generate_series(701, 900) g;

-- Three keys: chains of overflow pages, which split, lose tuples in one place or
-- another, and are squeezed.
CREATE TABLE hash_chain (k int, n int);
VACUUM hash_chain;
CREATE INDEX hash_chain_k ON hash_chain USING hash (k);
SET wal_consistency_checking = '';
INSERT INTO hash_chain SELECT g % 3, g FROM generate_series(1, 4800) g;
SET wal_consistency_checking = 'hash';
INSERT INTO hash_chain SELECT g % 3, g FROM generate_series(4801, 6000) g;
-- What is at the chain's start: all behind it moves forward.
DELETE FROM hash_chain WHERE n < 1000;
VACUUM hash_chain;
-- A little everywhere.
DELETE FROM hash_chain WHERE n % 10 = 0;
VACUUM hash_chain;
INSERT INTO hash_chain SELECT g % 3, g FROM generate_series(6001, 6200) g;
-- The midst, then most.
DELETE FROM hash_chain WHERE n BETWEEN 2500 AND 4000;
VACUUM hash_chain;
DELETE FROM hash_chain WHERE n % 4 <> 0 AND k = 1;
VACUUM hash_chain;
DELETE FROM hash_chain WHERE n > 5000;
VACUUM hash_chain;
-- Freed pages are used again.
INSERT INTO hash_chain SELECT 2, g FROM generate_series(7001, 7800) g;
DELETE FROM hash_chain WHERE n % 2 = 0;
VACUUM hash_chain;
DELETE FROM hash_chain WHERE k <> 2;
VACUUM hash_chain;
DELETE FROM hash_chain;
VACUUM hash_chain;
INSERT INTO hash_chain SELECT g % 3, g FROM generate_series(1, 60) g;

-- Dead tuples that a scan has marked, deleted by who needs the room.
CREATE TABLE hash_dead (k int, n int);
VACUUM hash_dead;
CREATE INDEX hash_dead_k ON hash_dead USING hash (k);
INSERT INTO hash_dead SELECT 5, g FROM generate_series(1, 407) g;
DELETE FROM hash_dead WHERE n % 2 = 0;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(n) FROM hash_dead WHERE k = 5;
INSERT INTO hash_dead SELECT 5, g FROM generate_series(501, 700) g;
DELETE FROM hash_dead WHERE n = 501;
SELECT count(n) FROM hash_dead WHERE k = 5;
INSERT INTO hash_dead SELECT 5, g FROM generate_series(801, 820) g;
SET wal_consistency_checking = '';
INSERT INTO hash_dead SELECT k, g FROM generate_series(6, 9) k, generate_series(1, 450) g;
SET wal_consistency_checking = 'hash';
DELETE FROM hash_dead WHERE k > 5 AND n % 5 = 0;
SELECT count(n) FROM hash_dead WHERE k = 6;
SELECT count(n) FROM hash_dead WHERE k = 7;
SELECT count(n) FROM hash_dead WHERE k = 8;
SELECT count(n) FROM hash_dead WHERE k = 9;
INSERT INTO hash_dead SELECT k, g FROM generate_series(6, 9) k, generate_series(1001, 1100) g;
-- And by vacuum, from a page that is known to have dead ones.
DELETE FROM hash_dead WHERE n > 600;
SELECT count(n) FROM hash_dead WHERE k = 5;
RESET enable_seqscan;
RESET enable_bitmapscan;
VACUUM hash_dead;

-- Built on what is there: with as many buckets as that needs.
CREATE TABLE hash_built (t text);
INSERT INTO hash_built SELECT 'key ' || g FROM generate_series(1, 3000) g;
ANALYZE hash_built;
SET wal_consistency_checking = '';
CREATE INDEX hash_built_t ON hash_built USING hash (t);
CREATE INDEX hash_built_f ON hash_built USING hash (t) WITH (fillfactor = 10);
SET wal_consistency_checking = 'hash';
INSERT INTO hash_built SELECT 'key ' || g FROM generate_series(3001, 3200) g;
CREATE UNLOGGED TABLE hash_unlogged (k int);
CREATE INDEX hash_unlogged_k ON hash_unlogged USING hash (k);
-- As many buckets as an index of many tuples begins with, where split points have
-- phases: the table pretends to hold them.
CREATE TABLE hash_guess (k int);
INSERT INTO hash_guess VALUES (1);
UPDATE pg_class SET relpages = 1, reltuples = 45000 WHERE relname = 'hash_guess';
CREATE INDEX hash_guess_1 ON hash_guess USING hash (k) WITH (fillfactor = 10);
UPDATE pg_class SET relpages = 1, reltuples = 60000 WHERE relname = 'hash_guess';
CREATE INDEX hash_guess_2 ON hash_guess USING hash (k) WITH (fillfactor = 10);
RESET wal_consistency_checking;
