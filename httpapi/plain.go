package httpapi

// A plainReader reads JSON of one form: the members in their usual order, and strings in which nothing has to be decoded. That is how nearly all programs
// send it; what is otherwise fails here, and is then left to encoding/json.
type plainReader struct {
	rest   []byte
	failed bool
}

// next reports whether that piece comes next, and goes past it.
func (r *plainReader) next(piece string) bool {
	for len(r.rest) > 0 && (r.rest[0] == ' ' || r.rest[0] == '\n' || r.rest[0] == '\t' || r.rest[0] == '\r') {
		r.rest = r.rest[1:]
	}
	if len(r.rest) < len(piece) || string(r.rest[:len(piece)]) != piece {
		return false
	}
	r.rest = r.rest[len(piece):]
	return true
}

// want goes past pieces.
func (r *plainReader) want(pieces ...string) {
	for _, p := range pieces {
		r.failed = r.failed || !r.next(p)
	}
}

// text goes past a string and returns it.
func (r *plainReader) text() string {
	if r.want(`"`); r.failed {
		return ""
	}
	for i, c := range r.rest {
		switch {
		case c == '"':
			s := string(r.rest[:i])
			r.rest = r.rest[i+1:]
			return s
		case c < ' ' || c > '~' || c == '\\':
			r.failed = true
			return ""
		}
	}
	r.failed = true
	return ""
}

// ended reports whether all has been read as wanted.
func (r *plainReader) ended() bool { return !r.failed && len(r.rest) == 0 }

// plainToken reads {"lease_token":"..."}.
func plainToken(p []byte) (token string, ok bool) {
	r := plainReader{rest: p}
	r.want("{", `"lease_token"`, ":")
	token = r.text()
	r.want("}")
	return token, r.ended()
}

// plainAcks reads {"acks":[{"id":"...","lease_token":"..."}]}, with one ack at least.
func plainAcks(p []byte) (acks []ackBody, ok bool) {
	r := plainReader{rest: p}
	r.want("{", `"acks"`, ":", "[")
	for more := true; more && !r.failed; more = r.next(",") {
		var one ackBody
		r.want("{", `"id"`, ":")
		one.ID = r.text()
		r.want(",", `"lease_token"`, ":")
		one.Token = r.text()
		r.want("}")
		acks = append(acks, one)
	}
	r.want("]", "}")
	return acks, r.ended()
}
