// Package control is how `walplex status` and `walplex reload` reach a running
// host: HTTP and JSON over a Unix socket.
//
//	GET  /v1/status   200 and a status.Report
//	POST /v1/reload   200 and {"changes": [TEXT, …]}
//	                  409 another reload is under way
//	                  422 the new configuration is wrong, nothing has changed
//	                  500 it failed, 501 this host cannot reload
//
// An answer other than 200 is {"error": TEXT}.
//
// # Who may
//
// The socket has mode 0600 from its first moment, and the host takes only
// connections of its own user's and of root's processes.
//
// # One host a socket
//
// Beside the socket lies a file, its name with .lock behind it, that the host
// holds locked as long as it lives and that names its process. A socket whose
// lock nobody holds was left by a host that was killed, and is replaced.
//
// # Bounds
//
// Connections, requests and every wait are bounded (package httplimit); an
// answer is made of a snapshot, so a client that does not read it holds up
// nothing but itself.
package control
