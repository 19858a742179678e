package pgstore

// Waiting returns how many updates stand in line.
func (s *Store) Waiting() int { return int(s.updates.waiting.Load()) }
