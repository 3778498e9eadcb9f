// Package conform holds a sink to the delivery contract, from the host's side of
// the wire: whatever language it is written in, in the test's process or in one
// of its own. `walplex plugin test` and package sinktest run it.
//
// A [Check] plays the host in one situation: it starts the sink, sends WAL that it
// has made itself, and compares what the sink answers with what the contract
// (sdk/docs/CONTRACT.md) allows. Its error names the rule that was broken. Every
// check has a directory of its own; a check that does not concern a sink answers
// [NotApplicable].
//
//	for _, c := range conform.Checks() {
//		err := c.Run(ctx, target, dir)
//	}
package conform
