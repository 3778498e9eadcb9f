// Package consistency holds package redo against what real servers say of their
// pages: with wal_consistency_checking = all a server adds to every record the
// image of each page as it is after it, and whoever redoes the record has to
// come to the same page, byte for byte but for what [redo.Mask] hides.
//
//	server ── SQL that emits every kind of record ──▶ pg_wal ──▶ [Record]
//	       ── images that are there to be compared ──────┐
//	[redo.Apply], record by record, from images on ──▶ page ──▶ [Check] ──▶ [Report]
//
// A page begins as it is in the files before the first record, with an image that
// redo applies, or with a record that initialises it; a page of which there is
// none of these, as after CREATE DATABASE by copying files, with the first image
// that is there for comparison. Every change to it is checked. A page that was found to differ is
// taken as the server has it, so that one fault is not reported again and again.
//
// Pages of the visibility map are compared too, in all bits, which the server
// does not do; and the changes to them that records imply without naming them.
//
// What masks hide, a second comparison shows: a server goes through its WAL once
// more by its own recovery ([WAL.Recover]), and all pages of users' relations
// equal its files in every byte but pd_checksum ([CompareRecovered]). What neither
// shows are pages that no record changed.
//
// Pages of SLRUs are compared with the files of the server that wrote the WAL, in every
// byte, since it is stopped cleanly, and with those of its recovery ([CompareSLRU]).
//
// The tests are tested: faults are seeded into redo, and each is found.
//
// The SQL is that of package workload, and what is in sql/ beside this file, of
// which each file is for one resource manager. The tests run it on the installed
// server; those behind the build tag matrix, on servers of every major.
package consistency
