// Package attack is what the techniques of the torture have in common: how one is described, how it counts what it did and what it found,
// and how it starts processes of its own.
package attack
