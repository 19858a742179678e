package callback

import "time"

// NewHosts returns what bounds the attempts at a host.
func NewHosts(max int) *hosts { return newHosts(max) }

func (h *hosts) Enter(name string) (time.Duration, bool) { return h.enter(name) }
func (h *hosts) Leave(name string, took time.Duration)   { h.leave(name, took) }
func (h *hosts) Len() int                                { return len(h.busy) }
