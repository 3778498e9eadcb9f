//go:build !linux

package supervisor

// Dead is of no consequence where no memory is shared.
func (p *Process) Dead() bool { return true }

// AwaitDeath returns at once.
func (p *Process) AwaitDeath() {}
