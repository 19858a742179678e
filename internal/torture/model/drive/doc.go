// Package drive does the calls of package model on brokers, in this process or over HTTP, and gives a store a clock that is moved by hand.
package drive
