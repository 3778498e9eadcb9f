CREATE SEQUENCE c_seq;
SELECT count(nextval('c_seq')) FROM generate_series(1, 200);
SELECT setval('c_seq', 5, false);
ALTER SEQUENCE c_seq INCREMENT -2 MINVALUE -100 MAXVALUE 100 CYCLE;
SELECT count(nextval('c_seq')) FROM generate_series(1, 120);
