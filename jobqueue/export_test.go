package jobqueue

// Left returns how many wait for jobs, for idleness and for changes, as the broker's own records have it.
func (b *Broker) Left() (receivers, idlers, watches int) {
	b.watches.mu.Lock()
	defer b.watches.mu.Unlock()
	return b.lines.Waiting(), b.idle.Waiting(), len(b.watches.byJob)
}

// Turns returns how many keys there are whose enqueues take turns.
func (b *Broker) Turns() int {
	b.turns.mu.Lock()
	defer b.turns.mu.Unlock()
	return len(b.turns.keys)
}
