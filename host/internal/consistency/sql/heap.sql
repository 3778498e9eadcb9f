-- Heap: versions in chains, deletes and what comes into their place, of many shapes.
CREATE TABLE c_heap (id int PRIMARY KEY, n int, a text, b text, c bigint) WITH (fillfactor = 60);
INSERT INTO c_heap SELECT g, g, repeat('a', g % 90), CASE WHEN g % 3 = 0 THEN repeat('b', g % 200) END, g FROM generate_series(1, 600) g;
UPDATE c_heap SET n = n + 1 WHERE id % 3 = 0;
UPDATE c_heap SET b = 'changed in the midst' WHERE id % 5 = 0;
UPDATE c_heap SET a = a || 'x' WHERE id % 7 = 0;
UPDATE c_heap SET c = NULL WHERE id % 11 = 0;
UPDATE c_heap SET b = repeat('B', 900) WHERE id % 13 = 0;
DELETE FROM c_heap WHERE id % 4 = 0;
INSERT INTO c_heap SELECT g, g, 'again', 'again', g FROM generate_series(4, 600, 8) g;
SELECT count(*), sum(n) FROM c_heap;
UPDATE c_heap SET n = n + 1 WHERE id < 300;
UPDATE c_heap SET n = n + 1 WHERE id < 200;
SELECT count(*), sum(n) FROM c_heap;
VACUUM c_heap;
INSERT INTO c_heap SELECT g, g, 'more', NULL, g FROM generate_series(1000, 1200) g;
DELETE FROM c_heap WHERE id BETWEEN 100 AND 400;
VACUUM c_heap;
COPY c_heap (id, n) FROM PROGRAM 'for i in $(seq 2001 2200); do printf "$i\t$i\n"; done';
VACUUM (FREEZE) c_heap;
-- What is all visible ceases to be so, by each kind of record.
UPDATE c_heap SET n = 0 WHERE id IN (1, 401, 2001);
DELETE FROM c_heap WHERE id IN (2, 402, 2002);
VACUUM (FREEZE) c_heap;
SELECT id FROM c_heap WHERE id IN (3, 403, 2003) FOR UPDATE;
SELECT id FROM c_heap WHERE id IN (5, 405, 2005) FOR KEY SHARE;
VACUUM (FREEZE) c_heap;
INSERT INTO c_heap SELECT g, g, 'into frozen pages', NULL, g FROM generate_series(3000, 3100) g;
VACUUM c_heap;
COPY c_heap (id, n) FROM PROGRAM 'for i in $(seq 4001 4300); do printf "$i\t$i\n"; done';
VACUUM c_heap;
DELETE FROM c_heap WHERE id > 1000;
VACUUM c_heap;
-- Rows that move to another partition leave a mark behind.
CREATE TABLE c_part (k int, v text) PARTITION BY LIST (k);
CREATE TABLE c_part1 PARTITION OF c_part FOR VALUES IN (1);
CREATE TABLE c_part2 PARTITION OF c_part FOR VALUES IN (2);
INSERT INTO c_part SELECT 1, 'row ' || g FROM generate_series(1, 30) g;
UPDATE c_part SET k = 2 WHERE v LIKE '%3%';
VACUUM c_part;
-- Two sessions in one page; aborted versions; multixacts that freeze.
CREATE TABLE c_locked (id int PRIMARY KEY, n int) WITH (fillfactor = 50);
INSERT INTO c_locked SELECT g, g FROM generate_series(1, 50) g;
\session a
BEGIN;
SELECT id FROM c_locked WHERE id < 20 FOR KEY SHARE;
\session b
BEGIN;
SELECT id FROM c_locked WHERE id < 15 FOR SHARE;
\session a
UPDATE c_locked SET n = 1 WHERE id BETWEEN 15 AND 19;
\session b
SELECT id FROM c_locked WHERE id BETWEEN 15 AND 19 FOR KEY SHARE;
COMMIT;
\session a
SAVEPOINT s;
UPDATE c_locked SET n = n + 1 WHERE id BETWEEN 5 AND 14;
DELETE FROM c_locked WHERE id BETWEEN 30 AND 40;
ROLLBACK TO s;
COMMIT;
\close a
\close b
DELETE FROM c_locked WHERE id > 45;
VACUUM (FREEZE) c_locked;
SELECT count(*) FROM c_locked;
-- A lock on a version whose update was given up.
BEGIN;
UPDATE c_locked SET n = 0 WHERE id IN (1, 2);
ROLLBACK;
SELECT id FROM c_locked WHERE id IN (1, 2) FOR UPDATE;
SELECT id FROM c_locked WHERE id = 1 FOR NO KEY UPDATE;
-- A speculative insertion that is taken back.
CREATE TABLE c_spec (k int PRIMARY KEY, n int);
INSERT INTO c_spec SELECT g % 20, g FROM generate_series(1, 60) g ON CONFLICT DO NOTHING;
INSERT INTO c_spec VALUES (3, 1) ON CONFLICT (k) DO UPDATE SET n = c_spec.n + 1;
-- Wide tuples, toast, and truncated ends with their visibility map.
CREATE TABLE c_wide (id int, t text);
ALTER TABLE c_wide ALTER t SET STORAGE external;
INSERT INTO c_wide SELECT g, repeat(md5(g::text), 200) FROM generate_series(1, 30) g;
UPDATE c_wide SET t = repeat('z', 5000) WHERE id % 2 = 0;
VACUUM (FREEZE) c_wide;
DELETE FROM c_wide WHERE id > 10;
VACUUM (FREEZE) c_wide;
INSERT INTO c_wide SELECT g, repeat('again', 1000) FROM generate_series(1, 10) g;
VACUUM c_wide;
ANALYZE;
-- What stays as it is now: pages that were all visible and frozen, each changed by
-- another kind of record.
CREATE TABLE c_last (id int, t text);
ALTER TABLE c_last ALTER t SET STORAGE plain;
INSERT INTO c_last SELECT g, repeat('l', 1000) FROM generate_series(1, 140) g;
DELETE FROM c_last WHERE id % 7 = 0 AND id > 70;
VACUUM (FREEZE) c_last;
UPDATE c_last SET id = -1 WHERE id = 1;
DELETE FROM c_last WHERE id = 10;
SELECT id FROM c_last WHERE id = 17 FOR UPDATE;
SELECT id FROM c_last WHERE id = 24 FOR KEY SHARE;
INSERT INTO c_last SELECT g, repeat('i', 900) FROM generate_series(201, 203) g;
COPY c_last FROM PROGRAM 'for i in $(seq 301 304); do echo "$i	$(printf c%0900d 0)"; done' WITH (DELIMITER E'\t');
CREATE TABLE c_hot (id int PRIMARY KEY, n int, t text) WITH (fillfactor = 50);
INSERT INTO c_hot SELECT g, g, repeat('h', 40) FROM generate_series(1, 50) g;
UPDATE c_hot SET n = n + 1;
SELECT sum(n) FROM c_hot;
UPDATE c_hot SET n = n + 1;
SELECT sum(n) FROM c_hot;
UPDATE c_hot SET n = n + 1 WHERE id < 20;
SELECT sum(n) FROM c_hot;
UPDATE c_last SET t = repeat('u', 1000) WHERE id BETWEEN 50 AND 60;
BEGIN;
DELETE FROM c_last WHERE id = 40;
ROLLBACK;
