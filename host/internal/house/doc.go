// Package house holds the rules of this repository as tests: who may import
// whom, and what every package must have.
package house
