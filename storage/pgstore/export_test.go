package pgstore

// Waiting returns how many updates stand in line.
func (s *Store) Waiting() int {
	return int(s.updates.waiting.Load())
}

// Forget has a node ask the database for everything, as one that was just opened.
func (s *Store) Forget() {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	s.memory.jobs, s.memory.queues = nil, nil
}
