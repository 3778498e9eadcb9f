-- What a server can be made to write into its WAL, in as little WAL as possible.
-- The directives, lines that begin with a backslash, are those of package workload.
--
-- Before the recording: what is large, and only matters to what comes later.

CREATE EXTENSION bloom;

-- Two levels of posting tree, of 25,000 heap rows that hold one element.
CREATE TABLE gin_big (a int[]);
COPY gin_big FROM PROGRAM 'yes "{1}" | head -25000';
CREATE INDEX gin_big_a ON gin_big USING gin (a) WITH (fastupdate = off);
VACUUM FREEZE gin_big;
DELETE FROM gin_big WHERE ctid BETWEEN '(40,0)' AND '(150,0)';

-- A posting list that all but fills what a tuple may hold.
CREATE TABLE gin_mid (a int[]);
COPY gin_mid FROM PROGRAM 'yes "{1}" | head -2550';
CREATE INDEX gin_mid_a ON gin_mid USING gin (a) WITH (fastupdate = off);

-- A range map that is full to the last entry but a few: 1360 a page.
CREATE TABLE brin_long (n int, pad text) WITH (fillfactor = 10);
ALTER TABLE brin_long ALTER pad SET STORAGE plain;
INSERT INTO brin_long SELECT g, repeat('b', 700) FROM generate_series(1, 1358) g;
CREATE INDEX brin_long_n ON brin_long USING brin (n) WITH (pages_per_range = 1);
VACUUM FREEZE brin_long;

CREATE TABLE hash_big (k int, n int);
INSERT INTO hash_big SELECT 7, g FROM generate_series(1, 1700) g;
CREATE INDEX hash_big_k ON hash_big USING hash (k);
DELETE FROM hash_big WHERE n BETWEEN 100 AND 700 OR n % 2 = 0;
CREATE TABLE hash_full (k int, n int);
VACUUM hash_full;
CREATE INDEX hash_full_k ON hash_full USING hash (k);
INSERT INTO hash_full SELECT 5, g FROM generate_series(1, 400) g;

CREATE TABLE gist_big (p point, n int);
INSERT INTO gist_big SELECT point(g % 60, g / 60), g FROM generate_series(1, 1800) g;
CREATE INDEX gist_big_p ON gist_big USING gist (p);
DELETE FROM gist_big WHERE n > 200;

CREATE TABLE toasted (id int, t text);
ALTER TABLE toasted ALTER t SET STORAGE external;
INSERT INTO toasted SELECT g, repeat('toast', 1000) FROM generate_series(1, 12) g;

-- A database that is all but empty, as a template that is cheap to copy: WAL_LOG
-- copies what its pg_class names.
\since 15
CREATE DATABASE tiny STRATEGY file_copy;
\session tiny dbname=tiny
SET allow_system_table_mods = on;
DELETE FROM pg_class WHERE relname NOT IN ('pg_class', 'pg_namespace', 'pg_db_role_setting');
\close tiny
\end

\begin

-- Without wal_level logical. A relation made in the same transaction is not
-- logged then, and GiST takes its page LSNs from records made for that.
\restart wal_level=minimal max_wal_senders=0
BEGIN;
CREATE TABLE gist_new (p point);
CREATE INDEX gist_new_p ON gist_new USING gist (p);
INSERT INTO gist_new SELECT point(g, g % 17) FROM generate_series(1, 120) g;
COMMIT;
DROP TABLE gist_new;
\restart wal_level=logical max_wal_senders=4

-- Heap.
CREATE TABLE h (id int PRIMARY KEY, v text, n int) WITH (fillfactor = 80);
INSERT INTO h SELECT g, 'value ' || g, g FROM generate_series(1, 40) g;
COPY h (id) FROM PROGRAM 'seq 201 230';
UPDATE h SET v = 'valve ' || id WHERE id <= 10;
UPDATE h SET id = id + 1000 WHERE id BETWEEN 11 AND 15;
UPDATE h SET v = repeat('long', 300) WHERE id BETWEEN 16 AND 18;
DELETE FROM h WHERE id BETWEEN 20 AND 24;
SELECT count(*) FROM h WHERE n < 5;
INSERT INTO h VALUES (301, 'speculative', 1) ON CONFLICT DO NOTHING;
INSERT INTO h VALUES (301, 'speculative', 1) ON CONFLICT (id) DO UPDATE SET n = h.n + 1;
ALTER TABLE h REPLICA IDENTITY FULL;
UPDATE h SET n = -1 WHERE id = 25;
DELETE FROM h WHERE id = 25;
ALTER TABLE h REPLICA IDENTITY DEFAULT;
DELETE FROM h WHERE id = 26;
INSERT INTO toasted VALUES (100, repeat('slice', 900));
UPDATE toasted SET t = repeat('other', 900) WHERE id = 100;
DELETE FROM toasted WHERE id < 12;
VACUUM toasted;
CREATE TABLE frozen (n int);
BEGIN;
TRUNCATE frozen;
COPY frozen FROM PROGRAM 'seq 1 300' (FREEZE);
COMMIT;
CREATE TABLE emptied (n serial, t text);
INSERT INTO emptied (t) SELECT 'x' FROM generate_series(1, 5);
TRUNCATE emptied RESTART IDENTITY CASCADE;
CREATE MATERIALIZED VIEW m AS SELECT * FROM h WHERE id < 5;
REFRESH MATERIALIZED VIEW m;

-- HOT chains, pruned by whoever reads next; then vacuum in its several ways.
CREATE TABLE churn (id int PRIMARY KEY, n int, v text);
INSERT INTO churn SELECT g, g, repeat('c', 100) FROM generate_series(1, 120) g;
UPDATE churn SET n = n + 1;
UPDATE churn SET n = n + 1 WHERE id % 2 = 0;
SELECT count(*) FROM churn;
SELECT sum(n) FROM churn;
UPDATE churn SET n = n + 1 WHERE id < 40;
DELETE FROM churn WHERE id % 7 = 0;
VACUUM churn;
VACUUM (FREEZE) churn;
DELETE FROM churn WHERE id > 60;
UPDATE churn SET v = 'short' WHERE id BETWEEN 10 AND 20;
DELETE FROM churn WHERE id = 30;
VACUUM (FREEZE) churn;
ANALYZE churn;
-- Without an index there is one pass.
CREATE TABLE bare (n int);
INSERT INTO bare SELECT generate_series(1, 500);
DELETE FROM bare WHERE n % 3 = 0;
VACUUM bare;
DELETE FROM bare;
VACUUM (FREEZE) bare;

-- Row locks, multixacts, updated versions locked along the chain.
INSERT INTO h SELECT g, 'locked', 0 FROM generate_series(2001, 2012) g;
SELECT id FROM h WHERE id = 2001 FOR UPDATE;
SELECT id FROM h WHERE id = 2002 FOR NO KEY UPDATE;
SELECT id FROM h WHERE id = 2003 FOR SHARE;
SELECT id FROM h WHERE id = 2004 FOR KEY SHARE;
\session a
BEGIN;
SELECT id FROM h WHERE id BETWEEN 2001 AND 2003 FOR SHARE;
SELECT id FROM h WHERE id BETWEEN 2005 AND 2007 FOR KEY SHARE;
\session b
BEGIN;
SELECT id FROM h WHERE id BETWEEN 2002 AND 2003 FOR SHARE;
UPDATE h SET v = 'under a share' WHERE id BETWEEN 2005 AND 2006;
\session a
SELECT id FROM h WHERE id = 2006 FOR KEY SHARE;
\session c
BEGIN;
SELECT id FROM h WHERE id = 2002 FOR KEY SHARE;
SELECT id FROM h WHERE id = 2005 FOR KEY SHARE;
COMMIT;
\session b
COMMIT;
\session a
SAVEPOINT s;
SELECT id FROM h WHERE id = 2002 FOR UPDATE;
ROLLBACK TO s;
COMMIT;
\close a
\close b
\close c
DELETE FROM h WHERE id = 2005;
VACUUM (FREEZE) h;

-- Subtransactions, more than a backend advertises; rollbacks; large commits.
BEGIN;
SAVEPOINT s1;
INSERT INTO h VALUES (3001, 's1', 1);
SAVEPOINT s2;
INSERT INTO h VALUES (3002, 's2', 1);
ROLLBACK TO s2;
INSERT INTO h VALUES (3003, 's2 again', 1);
RELEASE s1;
COMMIT;
DO $$
BEGIN
	FOR i IN 1..70 LOOP
		BEGIN
			INSERT INTO bare VALUES (i);
		EXCEPTION WHEN division_by_zero THEN
			NULL;
		END;
	END LOOP;
END
$$;
BEGIN;
CREATE TABLE gone (n int);
INSERT INTO gone VALUES (1);
SAVEPOINT s;
CREATE INDEX ON gone (n);
ROLLBACK;
SET synchronous_commit = off;
INSERT INTO h VALUES (3010, 'later', 1);
SET synchronous_commit = remote_apply;
INSERT INTO h VALUES (3011, 'now', 1);
RESET synchronous_commit;

-- Two phases.
BEGIN;
CREATE TABLE prepared (n int);
INSERT INTO prepared VALUES (1);
SAVEPOINT s;
DROP TABLE emptied;
PREPARE TRANSACTION 'first of two';
CHECKPOINT;
COMMIT PREPARED 'first of two';
BEGIN;
INSERT INTO prepared VALUES (2);
DROP MATERIALIZED VIEW m;
SAVEPOINT s;
CREATE TABLE never (n int);
PREPARE TRANSACTION 'second of two';
ROLLBACK PREPARED 'second of two';
BEGIN;
LOCK TABLE h IN ACCESS EXCLUSIVE MODE;
SELECT id FROM h WHERE id = 2001 FOR SHARE;
PREPARE TRANSACTION 'holds a lock';
ROLLBACK PREPARED 'holds a lock';

-- Sequences, messages, origins, restore points.
CREATE SEQUENCE sq INCREMENT 3 CACHE 5;
SELECT nextval('sq'), setval('sq', 100);
ALTER SEQUENCE sq RESTART WITH 7;
SELECT pg_logical_emit_message(true, 'transactional', 'a message');
SELECT pg_logical_emit_message(false, 'not', E'\\x00ff10'::bytea);
SELECT pg_logical_emit_message(true, '', '');
SELECT pg_create_restore_point('a name of a restore point');
SELECT pg_replication_origin_create('elsewhere');
SELECT pg_replication_origin_advance('elsewhere', '0/ABCDEF0');
\session o
SELECT pg_replication_origin_session_setup('elsewhere');
BEGIN;
SELECT pg_replication_origin_xact_setup('1/2345678', '2024-02-29 12:34:56.789+00');
INSERT INTO h VALUES (3020, 'replayed', 1);
COMMIT;
BEGIN;
SELECT pg_replication_origin_xact_setup('1/2345680', '2024-02-29 12:34:57+00');
INSERT INTO h VALUES (3021, 'given up', 1);
ROLLBACK;
BEGIN;
SELECT pg_replication_origin_xact_setup('1/2345690', '2024-02-29 12:34:58+00');
INSERT INTO h VALUES (3022, 'prepared there', 1);
PREPARE TRANSACTION 'from elsewhere';
COMMIT PREPARED 'from elsewhere';
SELECT pg_replication_origin_session_reset();
\close o
SELECT pg_replication_origin_drop('elsewhere');

-- B-tree: keys so wide that seven fill a page.
CREATE TABLE bt (k text, n int);
ALTER TABLE bt ALTER k SET STORAGE plain;
CREATE INDEX bt_k ON bt (k);
INSERT INTO bt SELECT to_char(g, 'FM0000') || repeat('k', 1000), g FROM generate_series(500, 560) g;
INSERT INTO bt SELECT to_char(500 - g, 'FM0000') || repeat('k', 1000), g FROM generate_series(1, 30) g;
INSERT INTO bt SELECT to_char(530, 'FM0000') || repeat('j', 1000) || g, g FROM generate_series(1, 8) g;
DELETE FROM bt WHERE k < '0555';
VACUUM bt;
SELECT pg_current_xact_id();
VACUUM bt;
INSERT INTO bt SELECT to_char(g, 'FM0000') || repeat('k', 1000), g FROM generate_series(561, 590) g;
INSERT INTO bt SELECT to_char(g, 'FM0000') || repeat('k', 1000), g FROM generate_series(501, 520) g;
-- Three levels of which only the right edge is left: its fast root splits.
CREATE TABLE bt3 (k text);
ALTER TABLE bt3 ALTER k SET STORAGE plain;
CREATE INDEX bt3_k ON bt3 (k);
INSERT INTO bt3 SELECT repeat('w', 2500) || to_char(g, 'FM000') FROM generate_series(1, 20) g;
DELETE FROM bt3 WHERE k < repeat('w', 2500) || '020';
VACUUM bt3;
VACUUM bt3;
INSERT INTO bt3 SELECT repeat('w', 2500) || to_char(g, 'FM000') FROM generate_series(21, 40) g;
-- Duplicates: posting lists, split by what comes back into their midst.
CREATE TABLE dup (k text, n int, m int);
ALTER TABLE dup ALTER k SET STORAGE plain;
CREATE INDEX dup_k ON dup (k);
INSERT INTO dup SELECT repeat('d', 400), g, g FROM generate_series(1, 40) g;
DELETE FROM dup WHERE n % 3 = 0;
VACUUM dup;
INSERT INTO dup SELECT repeat('d', 400), g, g FROM generate_series(41, 56) g;
-- Version churn, deleted from the bottom up; dead entries that a scan has marked.
CREATE UNIQUE INDEX dup_n ON dup (n, (repeat('u', 400)));
CREATE INDEX dup_m ON dup (m);
UPDATE dup SET m = m + 1;
UPDATE dup SET m = m + 1;
UPDATE dup SET m = m + 1;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
DELETE FROM dup WHERE n < 50;
SELECT count(n) FROM dup WHERE k = repeat('d', 400);
SELECT count(n) FROM dup WHERE n < 60;
INSERT INTO dup SELECT repeat('d', 400), g, g FROM generate_series(1, 49) g;
INSERT INTO dup SELECT repeat('d', 400), g, g FROM generate_series(201, 212) g;
RESET enable_seqscan;
RESET enable_bitmapscan;

-- Hash: buckets that split, and that overflow.
CREATE TABLE ha (k int, n int);
VACUUM ha;
CREATE INDEX ha_k ON ha USING hash (k) WITH (fillfactor = 10);
INSERT INTO ha SELECT g, g FROM generate_series(1, 210) g;
VACUUM ha;
DELETE FROM ha WHERE k % 5 = 0;
VACUUM ha;
INSERT INTO hash_full SELECT 5, g FROM generate_series(401, 412) g;
VACUUM hash_big;
DELETE FROM hash_full WHERE n < 20;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(n) FROM hash_full WHERE k = 5;
RESET enable_seqscan;
RESET enable_bitmapscan;
INSERT INTO hash_full SELECT 5, g FROM generate_series(1, 30) g;
DELETE FROM hash_full WHERE n < 50;
VACUUM hash_full;

-- GIN.
INSERT INTO gin_big SELECT '{1,2}' FROM generate_series(1, 30);
UPDATE gin_big SET a = '{1,3}' WHERE ctid IN ('(3,1)', '(30,1)', '(31,2)');
INSERT INTO gin_mid SELECT '{1}' FROM generate_series(1, 160);
CREATE TABLE gi (a int[], t text[]);
CREATE INDEX gi_a ON gi USING gin (a) WITH (fastupdate = on, gin_pending_list_limit = 64);
CREATE INDEX gi_t ON gi USING gin (t) WITH (fastupdate = off);
INSERT INTO gi SELECT array[g, g % 7], array[repeat('t', 300) || g, 'common'] FROM generate_series(1, 40) g;
INSERT INTO gi SELECT array_agg(g), null FROM generate_series(1, 420) g;
SELECT gin_clean_pending_list('gi_a');
DELETE FROM gi WHERE a[1] % 3 = 0;
VACUUM gi;
VACUUM gin_big;

-- GiST.
CREATE TABLE gs (p point, r int4range);
CREATE INDEX gs_p ON gs USING gist (p);
CREATE INDEX gs_r ON gs USING gist (r);
INSERT INTO gs SELECT point(g % 23, g % 41), int4range(g, g + 10) FROM generate_series(1, 260) g;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
DELETE FROM gs WHERE p <@ box '((0,0),(10,20))';
SELECT count(r) FROM gs WHERE p <@ box '((0,0),(30,50))';
RESET enable_seqscan;
RESET enable_bitmapscan;
INSERT INTO gs SELECT point(g % 11, g % 20), int4range(g, g + 10) FROM generate_series(1, 300) g;
VACUUM gist_big;
SELECT pg_current_xact_id();
VACUUM gist_big;
INSERT INTO gist_big SELECT point(g % 60, g / 60), g FROM generate_series(1, 400) g;

-- SP-GiST.
CREATE TABLE sp (p point, t text);
CREATE INDEX sp_p ON sp USING spgist (p);
CREATE INDEX sp_t ON sp USING spgist (t);
INSERT INTO sp SELECT point(g % 19, g % 31), 'p' || md5((g % 40)::text) || repeat('s', 100) FROM generate_series(1, 150) g;
INSERT INTO sp SELECT point(g % 19, g % 31), md5(g::text) || repeat('s', 150) FROM generate_series(1, 120) g;
INSERT INTO sp SELECT point(g, g), chr(64 + g) || repeat('s', 150) FROM generate_series(1, 50) g;
INSERT INTO sp SELECT point(g, -g), repeat('s', g) || g FROM generate_series(1, 60) g;
DELETE FROM sp WHERE t LIKE '%1%';
VACUUM sp;
SELECT pg_current_xact_id();
VACUUM sp;
CREATE TABLE sp_small (p point);
CREATE INDEX sp_small_p ON sp_small USING spgist (p);
INSERT INTO sp_small SELECT point(g, g) FROM generate_series(1, 20) g;
DELETE FROM sp_small WHERE p[0] > 5;
VACUUM sp_small;

-- BRIN.
INSERT INTO brin_long SELECT g, repeat('b', 700) FROM generate_series(1359, 1364) g;
SELECT brin_summarize_new_values('brin_long_n');
UPDATE brin_long SET n = -5 WHERE n = 3;
SELECT brin_desummarize_range('brin_long_n', 2);
SELECT brin_summarize_range('brin_long_n', 2);
CREATE TABLE br (t text) WITH (fillfactor = 20);
INSERT INTO br SELECT to_char(g, 'FM000') || repeat('r', 60) FROM generate_series(1, 200) g;
CREATE INDEX br_t ON br USING brin (t) WITH (pages_per_range = 1);
UPDATE br SET t = 'z' || repeat('R', 400) WHERE t LIKE '00_%';
INSERT INTO br SELECT 'zz' || repeat('Z', 700) FROM generate_series(1, 4);

-- Generic records.
CREATE TABLE bl (a int, b int);
CREATE INDEX bl_ab ON bl USING bloom (a, b);
INSERT INTO bl SELECT g, g % 7 FROM generate_series(1, 12) g;
DELETE FROM bl WHERE a = 3;
VACUUM bl;

-- Catalogs as logical decoding needs them.
SELECT pg_create_logical_replication_slot('decoder', 'pgoutput');
CREATE TABLE like_catalog (id int PRIMARY KEY, t text) WITH (user_catalog_table = true);
INSERT INTO like_catalog SELECT g, 'row ' || g FROM generate_series(1, 20) g;
UPDATE like_catalog SET t = 'changed' WHERE id < 10;
DELETE FROM like_catalog WHERE id = 15;
VACUUM FULL like_catalog;
BEGIN;
ALTER TABLE like_catalog ADD c int;
ALTER TABLE like_catalog ALTER c SET DEFAULT 5;
COMMIT;
SELECT pg_drop_replication_slot('decoder');
VACUUM FULL pg_db_role_setting;
REINDEX INDEX pg_db_role_setting_databaseid_rol_index;
\since 16
SELECT pg_log_standby_snapshot();
\end
CREATE ROLE somebody;
COMMENT ON ROLE somebody IS 'shared';
DROP ROLE somebody;
DROP TABLE prepared, frozen;

-- Tablespaces and databases.
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE place LOCATION '';
CREATE TABLE placed (n int) TABLESPACE place;
INSERT INTO placed VALUES (1);
ALTER TABLE placed SET TABLESPACE pg_default;
\since 15
CREATE DATABASE copied TEMPLATE tiny STRATEGY wal_log;
ALTER DATABASE copied SET TABLESPACE place;
DROP DATABASE copied;
CREATE DATABASE copied TEMPLATE tiny STRATEGY file_copy;
DROP DATABASE copied;
DROP DATABASE tiny;
\end
\before 15
CREATE DATABASE copied;
ALTER DATABASE copied SET TABLESPACE place;
DROP DATABASE copied;
\end
DROP TABLESPACE place;

-- Page images: first changes of a page behind a checkpoint, in each compression.
\conf full_page_writes=on
CHECKPOINT;
UPDATE h SET n = 70 WHERE id = 1;
UPDATE churn SET n = 0 WHERE id = 1;
SET wal_compression = on;
CHECKPOINT;
UPDATE h SET n = 71 WHERE id = 1;
UPDATE dup SET m = 0 WHERE n IN (1, 50);
INSERT INTO ha VALUES (12345, 1);
\when lz4
SET wal_compression = lz4;
CHECKPOINT;
UPDATE h SET n = 72 WHERE id = 1;
INSERT INTO gs VALUES (point(3, 3), '[1,2]');
INSERT INTO bt VALUES ('0505', 1);
CREATE INDEX ON dup (n, m);
\end
\when zstd
SET wal_compression = zstd;
CHECKPOINT;
UPDATE h SET n = 73 WHERE id = 1;
INSERT INTO sp VALUES (point(3, 3), 'zstd');
INSERT INTO bt VALUES ('0506', 1);
CREATE INDEX ON dup (m, n);
\end

-- Images that are only there to check redo.
SET wal_consistency_checking = 'all';
INSERT INTO h VALUES (4001, 'checked', 1);
UPDATE h SET n = 5 WHERE id = 4001;
DELETE FROM h WHERE id = 4001;
SET wal_compression = off;
INSERT INTO gin_big VALUES ('{1,2}');
SELECT nextval('sq');
RESET wal_consistency_checking;
RESET wal_compression;

-- A backup; hints.
\session backup
\before 15
SELECT pg_start_backup('labelled', true, false);
SELECT pg_stop_backup(false, false);
\end
\since 15
SELECT pg_backup_start('labelled', true);
SELECT pg_backup_stop(false);
\end
\close backup
\restart wal_log_hints=on
INSERT INTO bare SELECT generate_series(1, 10);
CHECKPOINT;
SELECT count(*) FROM bare;
\restart wal_log_hints=off full_page_writes=off

-- Everything frozen, so that the oldest of the transactions' state can go.
VACUUM FREEZE;
ALTER DATABASE template0 ALLOW_CONNECTIONS true;
\session template0 dbname=template0
VACUUM FREEZE;
\close template0
ALTER DATABASE template0 ALLOW_CONNECTIONS false;
\session template1 dbname=template1
VACUUM FREEZE;
\close template1
SELECT txid_current();
VACUUM FREEZE churn;
SELECT pg_switch_wal();

-- A crash in mid-record, and the next timeline.
INSERT INTO h VALUES (5001, 'before the crash', 1);
\overwrite
INSERT INTO h VALUES (5002, 'after the crash', 1);
\crash
INSERT INTO h VALUES (5003, 'after another', 1);
SELECT pg_switch_wal();
\promote
INSERT INTO h VALUES (5004, 'on the second timeline', 1);
SELECT pg_switch_wal();
