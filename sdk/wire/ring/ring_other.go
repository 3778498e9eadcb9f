//go:build !linux

package ring

import "errors"

// Supported reports whether this system has what a ring needs.
const Supported = false

var errUnsupported = errors.New("the shared ring needs Linux")

// Create answers an error.
func Create(int64) (*Ring, error) { return nil, errUnsupported }

// Close does nothing.
func (r *Ring) Close() error { return nil }

// Map answers an error.
func Map(int) (*Mapping, error) { return nil, errUnsupported }
