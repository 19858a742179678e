package pgserver

// Ended is closed when the server's process has ended.
func (s *Server) Ended() <-chan struct{} { return s.ended }
