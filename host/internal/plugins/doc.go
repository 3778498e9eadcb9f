// Package plugins is what a host knows of sink types that are programs of their
// own, short of running them: which there are ([Find]), which of them may run
// ([Lock]), and how a new one begins ([New]).
package plugins
