// Package nodes runs several nodes on one PostgreSQL: a server of its own that can be killed, a clock that is moved by hand for all of them,
// connections that break. The technique nodes of package histories uses it; the technique nodekill is here (see kill.go).
package nodes
