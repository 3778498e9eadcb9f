-- GiST, deeper than the workload has it. Images are made of its pages alone.
SET wal_consistency_checking = 'gist';

-- Signatures of 1,500 bytes, five to an inner page: splits on every level, of which
-- each finishes one below.
CREATE TABLE gist_deep (n int, v tsvector);
CREATE INDEX gist_deep_v ON gist_deep USING gist (v tsvector_ops (siglen = 1500));
INSERT INTO gist_deep SELECT g, array_to_tsvector(array(SELECT md5((g * 7919 % 1000 + i)::text) FROM generate_series(1, 60) i)) FROM generate_series(1, 350) g;
DELETE FROM gist_deep WHERE n % 3 = 0;
VACUUM gist_deep;
INSERT INTO gist_deep SELECT g, array_to_tsvector(array(SELECT md5((g + i)::text) FROM generate_series(1, 3) i)) FROM generate_series(1, 100) g;

-- Tuples of all sizes: a page becomes more than two.
CREATE TABLE gist_wide (p point, pad text);
ALTER TABLE gist_wide ALTER pad SET STORAGE plain;
CREATE INDEX gist_wide_p ON gist_wide USING gist (p) INCLUDE (pad);
INSERT INTO gist_wide SELECT point(g * 31 % 97, g * 17 % 89), repeat('w', CASE WHEN g % 4 = 0 THEN 1900 ELSE 20 + g % 200 END) FROM generate_series(1, 300) g;
INSERT INTO gist_wide SELECT point(g, 50), repeat('w', 1900) FROM generate_series(1, 60) g;

-- The tuple of a page in its parent is replaced by one that holds more.
CREATE TABLE gist_grow (r int4range, n int);
CREATE INDEX gist_grow_r ON gist_grow USING gist (r);
SET wal_consistency_checking = '';
INSERT INTO gist_grow SELECT int4range(g, g + 5), g FROM generate_series(1, 900) g;
SET wal_consistency_checking = 'gist';
INSERT INTO gist_grow SELECT int4range(g, g + 5 * g), g FROM generate_series(1, 900, 7) g;
INSERT INTO gist_grow VALUES ('empty', 0), ('(,)', 0), ('(,5)', 0), ('(700,)', 0), (null, 0);
-- Dead tuples that a scan has marked, deleted by who needs the room.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
DELETE FROM gist_grow WHERE n % 2 = 0;
SELECT count(n) FROM gist_grow WHERE r && '[0,2000]';
RESET enable_seqscan;
RESET enable_bitmapscan;
INSERT INTO gist_grow SELECT int4range(g, g + 5), g FROM generate_series(1, 900, 2) g;
-- Pages that are empty are deleted, and used again.
DELETE FROM gist_grow WHERE n > 100;
VACUUM gist_grow;
SELECT pg_current_xact_id();
VACUUM gist_grow;
INSERT INTO gist_grow SELECT int4range(g, g + 5), g FROM generate_series(1, 700, 2) g;

-- The same on pages that nothing is done to afterwards.
CREATE TABLE gist_dead (p point, n int);
CREATE INDEX gist_dead_p ON gist_dead USING gist (p);
SET wal_consistency_checking = '';
INSERT INTO gist_dead SELECT point(g, g), g FROM generate_series(1, 500) g;
SET wal_consistency_checking = 'gist';
DELETE FROM gist_dead WHERE n % 2 = 0;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(n) FROM gist_dead WHERE p <@ box '((0,0),(999,999))';
RESET enable_seqscan;
RESET enable_bitmapscan;
INSERT INTO gist_dead SELECT point(g % 60, g % 60), g FROM generate_series(1, 115) g;

-- A root alone.
CREATE TABLE gist_few (p point);
CREATE INDEX gist_few_p ON gist_few USING gist (p);
INSERT INTO gist_few SELECT point(g, g) FROM generate_series(1, 40) g;
DELETE FROM gist_few WHERE p[0] > 20;
VACUUM gist_few;
DELETE FROM gist_few;
VACUUM gist_few;
INSERT INTO gist_few SELECT point(g, g) FROM generate_series(1, 10) g;
