-- BRIN, with tuples that grow and move, and ranges that lose and get them. Images
-- are made of its pages alone.
SET wal_consistency_checking = 'brin';

-- Tuples in place, and on other pages.
CREATE TABLE brin_grow (n int, t text) WITH (fillfactor = 10);
ALTER TABLE brin_grow ALTER t SET STORAGE plain;
CREATE INDEX brin_grow_t ON brin_grow USING brin (n, t) WITH (pages_per_range = 1);
INSERT INTO brin_grow SELECT g, repeat('b', 100) || g FROM generate_series(1, 300) g;
SELECT brin_summarize_new_values('brin_grow_t');
UPDATE brin_grow SET n = n + 1;
UPDATE brin_grow SET t = 'a' || repeat('A', g * 3 % 900) FROM generate_series(1, 300) g WHERE n = g AND g % 2 = 0;
UPDATE brin_grow SET t = 'z' || repeat('Z', g * 7 % 1100) FROM generate_series(1, 300) g WHERE n = g AND g % 3 = 0;
SELECT brin_summarize_new_values('brin_grow_t');
SELECT brin_desummarize_range('brin_grow_t', b) FROM generate_series(3, 60, 4) b;
SELECT brin_summarize_range('brin_grow_t', b) FROM generate_series(3, 60, 8) b;
VACUUM brin_grow;
INSERT INTO brin_grow SELECT g, repeat('c', 700) || g FROM generate_series(501, 560) g;
VACUUM brin_grow;
SELECT brin_summarize_new_values('brin_grow_t');
SELECT brin_desummarize_range('brin_grow_t', b) FROM generate_series(0, 80) b;
SELECT brin_summarize_new_values('brin_grow_t');

-- The range map has two pages since the workload.
SELECT brin_desummarize_range('brin_long_n', b) FROM generate_series(5, 1361, 12) b;
INSERT INTO brin_long SELECT -g, repeat('b', 700) FROM generate_series(1, 20) g;
SELECT brin_summarize_new_values('brin_long_n');
