-- B-tree, deeper and with more duplicates than the workload has them. Images are
-- made of its pages alone.
SET wal_consistency_checking = 'btree';

-- Keys of 1000 bytes, seven to a page, inserted in no order: splits to either side,
-- on every level.
CREATE TABLE bt_deep (k text, n int);
ALTER TABLE bt_deep ALTER k SET STORAGE plain;
CREATE INDEX bt_deep_k ON bt_deep (k);
INSERT INTO bt_deep SELECT repeat('w', 1000) || to_char(g * 7919 % 1000, 'FM0000'), g FROM generate_series(1, 900) g;
-- Ascending and descending at the edges: the fast path, and the leftmost page.
INSERT INTO bt_deep SELECT repeat('w', 1000) || to_char(1000 + g, 'FM0000'), g FROM generate_series(1, 60) g;
INSERT INTO bt_deep SELECT repeat('v', 1000) || to_char(1000 - g, 'FM0000'), g FROM generate_series(1, 60) g;
-- Whole subtrees go: leaves half-dead below a top parent, then unlinked from the
-- bottom up; and what is left of the tree gets another fast root.
DELETE FROM bt_deep WHERE k BETWEEN repeat('w', 1000) || '0100' AND repeat('w', 1000) || '0800';
VACUUM bt_deep;
SELECT pg_current_xact_id();
VACUUM bt_deep;
-- Their pages are used again.
INSERT INTO bt_deep SELECT repeat('x', 1000) || to_char(g * 7919 % 1000, 'FM0000'), g FROM generate_series(1, 300) g;
DELETE FROM bt_deep WHERE n % 40 <> 0;
VACUUM bt_deep;
SELECT pg_current_xact_id();
VACUUM bt_deep;
INSERT INTO bt_deep SELECT repeat('y', 1000) || to_char(g * 7919 % 1000, 'FM0000'), g FROM generate_series(1, 200) g;
DELETE FROM bt_deep WHERE k < repeat('y', 1000) || '0990';
VACUUM bt_deep;
VACUUM bt_deep;
INSERT INTO bt_deep SELECT repeat('z', 1000) || to_char(g, 'FM0000'), g FROM generate_series(1, 200) g;

-- Seven keys many times over: posting lists, which lose TIDs from their midst, and
-- get others in their place, until the page has to split as well.
CREATE TABLE bt_dup (k int, n int, pad text) WITH (fillfactor = 50);
CREATE INDEX bt_dup_k ON bt_dup (k);
CREATE INDEX bt_dup_null ON bt_dup ((nullif(k, 3)), (k % 2));
INSERT INTO bt_dup SELECT g * 31 % 7, g, repeat('p', 20) FROM generate_series(1, 1500) g;
DELETE FROM bt_dup WHERE n * 13 % 10 < 3;
VACUUM bt_dup;
INSERT INTO bt_dup SELECT g * 17 % 7, g, repeat('p', 20) FROM generate_series(2001, 2900) g;
DELETE FROM bt_dup WHERE n * 13 % 9 < 3;
VACUUM bt_dup;
INSERT INTO bt_dup SELECT g * 11 % 5, g, repeat('p', 20) FROM generate_series(3001, 3900) g;
DELETE FROM bt_dup WHERE k = 2 OR n % 4 = 1;
VACUUM bt_dup;
INSERT INTO bt_dup SELECT g * 5 % 3, g, repeat('p', 20) FROM generate_series(4001, 5200) g;
-- All but one of a list, so that none is left.
DELETE FROM bt_dup WHERE k IN (0, 1) AND n % 60 <> 0;
VACUUM bt_dup;

-- The same with keys of 150 bytes, which split a posting list and its page at once.
CREATE TABLE bt_wide (k text, n int) WITH (fillfactor = 40);
ALTER TABLE bt_wide ALTER k SET STORAGE plain;
CREATE INDEX bt_wide_k ON bt_wide (k);
INSERT INTO bt_wide SELECT repeat('w', 150) || g * 31 % 40, g FROM generate_series(1, 600) g;
DELETE FROM bt_wide WHERE n * 13 % 10 < 4;
VACUUM bt_wide;
INSERT INTO bt_wide SELECT repeat('w', 150) || g * 17 % 40, g FROM generate_series(601, 900) g;
DELETE FROM bt_wide WHERE n * 11 % 10 < 4;
VACUUM bt_wide;
INSERT INTO bt_wide SELECT repeat('w', 150) || g * 23 % 60, g FROM generate_series(901, 1500) g;

-- Lists of eight TIDs at most, six to a page: every TID that comes into their midst,
-- when its row gets the other key, may split the page as well as the list.
CREATE TABLE bt_toggle (k text, n int) WITH (fillfactor = 20);
CREATE INDEX bt_toggle_k ON bt_toggle ((repeat(k, 500)), (repeat(k, 499)), (repeat(k, 280)));
INSERT INTO bt_toggle SELECT chr(97 + g % 2), g FROM generate_series(1, 300) g;
DO $$
BEGIN
	FOR i IN 1..4 LOOP
		FOR j IN 0..6 LOOP
			UPDATE bt_toggle SET k = chr(195 - ascii(k)) WHERE n % 7 = j;
		END LOOP;
	END LOOP;
END
$$;

-- Version churn of lists: deletion from the bottom up, of parts of them too.
CREATE TABLE bt_churn (id int PRIMARY KEY, k int, n int) WITH (fillfactor = 60);
CREATE INDEX bt_churn_k ON bt_churn (k);
CREATE INDEX bt_churn_n ON bt_churn (n);
INSERT INTO bt_churn SELECT g, g % 3, g FROM generate_series(1, 300) g;
UPDATE bt_churn SET n = n + 1000;
UPDATE bt_churn SET n = n + 1000;
UPDATE bt_churn SET n = n + 1000;
UPDATE bt_churn SET n = n + 1000 WHERE id % 2 = 0;
UPDATE bt_churn SET n = n + 1000 WHERE id < 200;
UPDATE bt_churn SET n = n + 1000;
-- Marked dead by scans, and deleted by who needs the room.
SET enable_seqscan = off;
SET enable_bitmapscan = off;
DELETE FROM bt_churn WHERE id % 3 = 1;
SELECT sum(n) FROM bt_churn WHERE k = 1;
SELECT count(n) FROM bt_churn WHERE id > 0;
INSERT INTO bt_churn SELECT g, 1, g FROM generate_series(1001, 1700) g;
RESET enable_seqscan;
RESET enable_bitmapscan;

-- A unique index, with columns that are no keys: no lists.
CREATE TABLE bt_unique (a int, b int, t text);
CREATE UNIQUE INDEX bt_unique_ab ON bt_unique (a, b) INCLUDE (t);
INSERT INTO bt_unique SELECT g % 20, g, 'included ' || g FROM generate_series(1, 800) g;
UPDATE bt_unique SET t = 'changed ' || b WHERE a < 5;
DELETE FROM bt_unique WHERE b % 3 = 0;
VACUUM bt_unique;
-- The number of deleted pages is kept on the metapage.
VACUUM bt_deep, bt_dup, bt_wide;
RESET wal_consistency_checking;
