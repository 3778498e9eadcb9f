-- GIN, with larger posting trees, entry trees and lists of pending entries than the
-- workload has them. Images are made of its pages alone, and while pages only fill,
-- of none.
SET wal_consistency_checking = '';

-- A posting tree of several leaves, whose right edge grows, and then every leaf.
CREATE TABLE gin_tree (n int, a int[]);
INSERT INTO gin_tree SELECT g, '{1}' FROM generate_series(1, 30000) g;
CREATE INDEX gin_tree_a ON gin_tree USING gin (a) WITH (fastupdate = off);
SET wal_consistency_checking = 'gin';
INSERT INTO gin_tree SELECT g, array[1, 2, 100 + g % 5] FROM generate_series(30001, 30100) g;
-- Every second, or a stretch: lists are written anew, or go.
DELETE FROM gin_tree WHERE n % 2 = 0 AND n < 3000;
DELETE FROM gin_tree WHERE n BETWEEN 400 AND 700;
VACUUM gin_tree;
-- Their room is used again: TIDs in the midst of lists, and between them.
INSERT INTO gin_tree SELECT g, '{1}' FROM generate_series(40001, 40150) g;
INSERT INTO gin_tree SELECT g, array[1, 2] FROM generate_series(40401, 40480) g;
DELETE FROM gin_tree WHERE n % 7 = 3;
VACUUM gin_tree;
SET wal_consistency_checking = '';
INSERT INTO gin_tree SELECT g, '{1}' FROM generate_series(50001, 54000) g;
SET wal_consistency_checking = 'gin';
INSERT INTO gin_tree SELECT g, array[1, 100 + g % 5] FROM generate_series(54001, 54060) g;
-- Whole leaves are empty, and are deleted.
DELETE FROM gin_tree WHERE ctid > '(50,0)' AND ctid < '(140,0)';
VACUUM gin_tree;
SELECT pg_current_xact_id();
VACUUM gin_tree;
-- Those that are left split.
SET wal_consistency_checking = '';
INSERT INTO gin_tree SELECT g, '{1}' FROM generate_series(60001, 75000) g;
SET wal_consistency_checking = 'gin';
INSERT INTO gin_tree SELECT g, array[1, 3] FROM generate_series(80001, 80060) g;

-- An entry tree of several levels: keys of 1,800 bytes, four to a page, in no order.
CREATE TABLE gin_deep (n int, a text[]);
ALTER TABLE gin_deep ALTER a SET STORAGE plain;
CREATE INDEX gin_deep_a ON gin_deep USING gin (a) WITH (fastupdate = off);
INSERT INTO gin_deep SELECT g, array[(SELECT string_agg(md5(g || '.' || i), '') FROM generate_series(1, 56) i)] FROM generate_series(1, 150) g;
-- Posting lists within entries, until they become trees.
INSERT INTO gin_deep SELECT g, array['short ' || g % 3, null] FROM generate_series(1, 200) g;
INSERT INTO gin_deep SELECT g, '{}' FROM generate_series(1, 20) g;
INSERT INTO gin_deep SELECT g, null FROM generate_series(1, 20) g;
DELETE FROM gin_deep WHERE n % 3 = 0;
VACUUM gin_deep;

-- Lists of pending entries: one tuple, or a row's many, behind the tail; lists of
-- pages of their own; and their ends, by 16 pages at a time.
CREATE TABLE gin_list (n int, a int[], t text[]);
CREATE INDEX gin_list_a ON gin_list USING gin (a) WITH (fastupdate = on, gin_pending_list_limit = 4096);
CREATE INDEX gin_list_t ON gin_list USING gin (t) WITH (fastupdate = on, gin_pending_list_limit = 4096);
INSERT INTO gin_list SELECT g, array[g, g % 7], array[repeat('l', 400) || g, repeat('m', 400)] FROM generate_series(1, 60) g;
INSERT INTO gin_list SELECT 0, array_agg(g), null FROM generate_series(1, 1500) g;
INSERT INTO gin_list SELECT g, array[g], null FROM generate_series(1, 30) g;
INSERT INTO gin_list SELECT 0, array_agg(g), array_agg(repeat('n', 1000) || g) FROM generate_series(1, 90) g;
SELECT gin_clean_pending_list('gin_list_a');
SELECT gin_clean_pending_list('gin_list_t');
-- Many entries of a key at once: pages of the tree split on every level.
CREATE TABLE gin_bulk (a int[]);
CREATE INDEX gin_bulk_a ON gin_bulk USING gin (a) WITH (fastupdate = on, gin_pending_list_limit = 4096);
SET wal_consistency_checking = '';
INSERT INTO gin_bulk SELECT '{5}' FROM generate_series(1, 28000) g;
SET wal_consistency_checking = 'gin';
SELECT gin_clean_pending_list('gin_bulk_a');
SET wal_consistency_checking = '';
INSERT INTO gin_bulk SELECT '{5, 6}' FROM generate_series(1, 1500) g;
SET wal_consistency_checking = 'gin';
VACUUM gin_bulk;
