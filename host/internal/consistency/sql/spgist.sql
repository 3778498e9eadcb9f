-- SP-GiST, with fuller pages than the workload has them. Images are made of its
-- pages alone, and while pages only fill, of none.
SET wal_consistency_checking = '';

-- Inner tuples that get node after node, until their page has no room: they move,
-- to their parent's page or another.
CREATE TABLE sp_nodes (n int, t text);
CREATE INDEX sp_nodes_t ON sp_nodes USING spgist (t);
INSERT INTO sp_nodes SELECT b, chr(64 + a) || repeat('-', 60) || chr(40 + b) || repeat('.', 120) || a FROM generate_series(1, 20) b, generate_series(1, 24) a;
SET wal_consistency_checking = 'spgist';
INSERT INTO sp_nodes SELECT b, chr(64 + a) || repeat('-', 60) || chr(40 + b) || repeat('.', 120) || a FROM generate_series(21, 44) b, generate_series(1, 24) a;
-- Prefixes that split at one place or another.
INSERT INTO sp_nodes SELECT g, chr(65 + g % 24) || repeat('-', g % 59) || '*' || repeat('x', 100) || g FROM generate_series(1, 160) g;
INSERT INTO sp_nodes SELECT g, repeat('-', 500 - g) || 'y' || g FROM generate_series(1, 100) g;
-- Null values have a tree of their own.
SET wal_consistency_checking = '';
INSERT INTO sp_nodes SELECT g, null FROM generate_series(1, 560) g;
SET wal_consistency_checking = 'spgist';
INSERT INTO sp_nodes SELECT g, null FROM generate_series(561, 620) g;
INSERT INTO sp_nodes SELECT g, '' FROM generate_series(1, 20) g;
DELETE FROM sp_nodes WHERE n % 3 = 0;
VACUUM sp_nodes;
SELECT pg_current_xact_id();
VACUUM sp_nodes;
INSERT INTO sp_nodes SELECT g, chr(64 + g % 24) || repeat('-', 60) || chr(40 + g % 70) || repeat('.', 100) || g FROM generate_series(1, 250) g;
INSERT INTO sp_nodes SELECT g, null FROM generate_series(1, 40) g;

-- Chains that lose heads, middles and ends; whose dead ends get tuples; and all of
-- a page's.
CREATE TABLE sp_points (n int, p point);
CREATE INDEX sp_points_p ON sp_points USING spgist (p);
CREATE INDEX sp_points_k ON sp_points USING spgist (p kd_point_ops);
SET wal_consistency_checking = '';
INSERT INTO sp_points SELECT g, point(g * 7919 % 1009, g * 104729 % 997) FROM generate_series(1, 1200) g;
SET wal_consistency_checking = 'spgist';
DELETE FROM sp_points WHERE n % 5 IN (1, 2);
VACUUM sp_points;
INSERT INTO sp_points SELECT g, point(g * 31 % 1009, g * 17 % 997) FROM generate_series(1, 200) g;
DELETE FROM sp_points WHERE p[0] BETWEEN 200 AND 500;
VACUUM sp_points;
SELECT pg_current_xact_id();
INSERT INTO sp_points SELECT g, point(g * 7919 % 1009, g * 104729 % 997) FROM generate_series(1, 250) g;
VACUUM sp_points;
DELETE FROM sp_points WHERE p[1] < 400;
VACUUM sp_points;
SELECT pg_current_xact_id();
VACUUM sp_points;
INSERT INTO sp_points SELECT g, point(g * 13 % 1009, g * 29 % 997) FROM generate_series(1, 250) g;
-- All alike, which no split tells apart.
INSERT INTO sp_points SELECT g, point(3, 3) FROM generate_series(1, 250) g;
DELETE FROM sp_points WHERE p ~= point(3, 3) AND n > 20;
VACUUM sp_points;
INSERT INTO sp_points SELECT g, point(3, 3) FROM generate_series(1, 60) g;

-- Leaf tuples with other columns, wide ones.
CREATE TABLE sp_wide (n int, i inet, pad text);
ALTER TABLE sp_wide ALTER pad SET STORAGE plain;
CREATE INDEX sp_wide_i ON sp_wide USING spgist (i) INCLUDE (n, pad);
INSERT INTO sp_wide SELECT g, '10.0.0.0'::inet + g * 7919 % 65536, CASE WHEN g % 9 > 0 THEN repeat('s', g % 13 * 90) END FROM generate_series(1, 250) g;
DELETE FROM sp_wide WHERE n % 4 = 0;
VACUUM sp_wide;
INSERT INTO sp_wide SELECT g, '10.0.0.0'::inet + g * 31 % 65536, repeat('s', 700) FROM generate_series(1, 60) g;

-- Chains of which nothing is left but their dead head, on pages that others fill:
-- what comes has to move on.
CREATE TABLE sp_dead (n int, p point, pad text);
ALTER TABLE sp_dead ALTER pad SET STORAGE plain;
CREATE INDEX sp_dead_p ON sp_dead USING spgist (p) INCLUDE (pad);
SET wal_consistency_checking = '';
INSERT INTO sp_dead SELECT g, point(g * 37 % 101, g * 53 % 97), repeat('s', 200) FROM generate_series(1, 300) g;
DELETE FROM sp_dead WHERE p[0] > 60;
VACUUM sp_dead;
INSERT INTO sp_dead SELECT g, point(g * 31 % 60, g * 47 % 97), repeat('S', 200) FROM generate_series(1, 400) g;
SET wal_consistency_checking = 'spgist';
INSERT INTO sp_dead SELECT g, point(60 + g * 31 % 41, g * 47 % 97), repeat('S', 2500) FROM generate_series(1, 80) g;

-- A root that is a leaf.
CREATE TABLE sp_root (n int, p point);
CREATE INDEX sp_root_p ON sp_root USING spgist (p);
INSERT INTO sp_root SELECT g, CASE WHEN g % 5 > 0 THEN point(g, g) END FROM generate_series(1, 30) g;
DELETE FROM sp_root WHERE n % 2 = 0;
VACUUM sp_root;
INSERT INTO sp_root SELECT g, point(g, g) FROM generate_series(1, 10) g;
