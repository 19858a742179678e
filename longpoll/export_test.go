package longpoll

// Keys returns for how many keys a line is kept, and how many the map has room for at least.
func (l *Lines[K, V]) Keys() (kept, largest int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines), l.largest
}
