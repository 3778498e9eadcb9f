-- Records of every resource manager that a server makes without extensions,
-- few enough to be compared with pg_waldump under many options.
create table parent(id int primary key, v text);
create table child(id bigserial primary key, pid int references parent, payload text, tags text[], p point, r int4range, js jsonb, ts timestamptz default now());
create index on child using gin(tags);
create index on child using gin(js);
create index on child using gist(p);
create index on child using gist(r);
create index on child using spgist(p);
create index on child using spgist(payload text_ops);
create index on child using brin(ts);
create index on child using hash(payload);
insert into parent select g, repeat('x', g % 50) from generate_series(1, 300) g;
insert into child(pid, payload, tags, p, r, js)
    select 1 + g % 300, md5(g::text), array[(g % 17)::text, md5((g % 100)::text)], point(g % 97, g % 89), int4range(g, g + 10), jsonb_build_object('a', g % 10, 'b', md5(g::text))
    from generate_series(1, 4000) g;
update child set payload = md5(payload) where id % 3 = 0;
delete from child where id % 7 = 0;
vacuum child;
begin; select count(*) from (select * from parent for update) s; savepoint a; update parent set v = v || 'y' where id < 50; rollback to a; update parent set v = v || 'z' where id between 20 and 90; commit;
create table dup(a int, b int);
create index on dup(a);
insert into dup select g % 5, g from generate_series(1, 8000) g;
delete from dup where b % 2 = 0;
vacuum dup;
cluster dup using dup_a_idx;
truncate dup;
vacuum (freeze) child;
begin; insert into parent values (5000, 'a'); prepare transaction 'one'; commit prepared 'one';
begin; insert into parent values (5001, 'b'); prepare transaction 'two'; rollback prepared 'two';
select pg_logical_emit_message(true, 'small', 'hello');
select pg_logical_emit_message(false, 'larger than a segment', repeat('x', 2500000));
select pg_switch_wal();
set wal_consistency_checking = 'all';
insert into parent select g, 'q' from generate_series(6000, 6100) g;
update child set payload = 'c' where id < 100;
reset wal_consistency_checking;
create sequence sq;
select count(nextval('sq')) from generate_series(1, 200);
select pg_replication_origin_create('origin');
select pg_replication_origin_session_setup('origin');
begin; select pg_replication_origin_xact_setup('0/1234', now()); insert into parent values (5002, 'o'); commit;
select pg_replication_origin_session_reset();
create database other;
drop database other;
reindex table child;
drop table dup;
checkpoint;
insert into parent select g, 'r' from generate_series(7000, 7100) g;
