// Package golden keeps WAL recorded from real PostgreSQL servers of every
// supported major, and what the pg_waldump of the same major makes of it. Its
// tests need neither PostgreSQL nor a network.
//
//	testdata/17.11/
//	    sample.json                       where it comes from; the runs of pg_waldump
//	    wal/00000001000000000000000B.zst  the segments, of 1 MiB, each compressed
//	    out/text.zst                      what the run named text printed
//
// The servers are those of package servers, the WAL that of package workload.
// Two samples each of 17 and 18 have the two layouts that exist under one page
// magic: since 17.11 and 18.6 heap records refer to the visibility map's pages as
// well. 17.10 and 18.4 are built with pglz alone, and have no pg_waldump: theirs is
// that of 17.11 and 18.6. The others compress page images with lz4 and zstd too
// (PG15 and later). The samples are recorded again, all or the named ones, by
//
//	go run ./host/internal/golden/record [--cache DIR] [VERSION …]
//
// on Linux on x86-64 with apt-get, dpkg-deb, npm and a network, in two to three
// minutes beyond what the servers take to download. A distribution that has moved
// on to another minor version gets a directory of its own. No two recordings are the same: times,
// and what background processes log, differ. Whatever is recorded anew is
// reviewed by the tests: they name the kinds of record that a sample does not
// have, and hold them against testdata/unseen.txt.
//
// No sample has records of extensions' resource managers, nor of two kinds that
// no server emits: XLOG/NOOP, and Heap/HOT_UPDATE+INIT, since a new version on
// its predecessor's page never begins that page.
package golden
