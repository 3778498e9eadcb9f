package control

// mayControl reports whether a process of user peer may control a host of user own.
func mayControl(peer uint32, own int) bool { return peer == 0 || int(peer) == own }
