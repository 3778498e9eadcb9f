// Package consistency holds package redo against what real servers say of their
// pages: with wal_consistency_checking = all a server adds to every record the
// image of each page as it is after it, and whoever redoes the record has to
// come to the same page, byte for byte but for what [redo.Mask] hides.
//
//	server ── SQL that emits every kind of record ──▶ pg_wal ──▶ [Record]
//	       ── images that are there to be compared ──────┐
//	[redo.Apply], record by record, from images on ──▶ page ──▶ [Check] ──▶ [Report]
//
// A page is known from the first image that redo applies, from a record that
// initialises it, or else from the first image that is there for comparison.
// From then on every change to it is checked. A page that was found to differ is
// taken as the server has it, so that one fault is not reported again and again.
//
// Pages of the visibility map are compared too, in all bits, which the server
// does not do; and the changes to them that records imply without naming them.
//
// The SQL is that of package workload, and what is in sql/ beside this file, of
// which each file is for one resource manager. The tests run it on the installed
// server; those behind the build tag matrix, on servers of every major.
package consistency
