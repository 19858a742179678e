package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// query reads the parameters of a URL. The first thing wrong stays in err, and what is read afterwards does not matter.
type query struct {
	values url.Values
	err    error
}

func (c *call) query() *query {
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	q := &query{values: values}
	if err != nil {
		q.err = invalid("the query cannot be read")
	}
	return q
}

func (q *query) fail(format string, args ...any) {
	if q.err == nil {
		q.err = invalid(fmt.Sprintf(format, args...))
	}
}

// one returns the value of a parameter and whether it is there; it may not be there twice.
func (q *query) one(name string) (string, bool) {
	v := q.values[name]
	switch len(v) {
	case 0:
		return "", false
	case 1:
		return v[0], true
	}
	q.fail("%s: is given %d times", name, len(v))
	return "", false
}

// text returns the value of a parameter, "" without it.
func (q *query) text(name string) string {
	v, _ := q.one(name)
	return v
}

// count returns a whole number from least to most, and otherwise without the parameter.
func (q *query) count(name string, least, most, otherwise int) int {
	s, ok := q.one(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		q.fail("%s: %q is not a whole number from %d to %d", name, s, least, most)
	}
	return n
}

// wholeSeconds returns a number of seconds, which is not negative, and whether it is there.
func (q *query) wholeSeconds(name string) (time.Duration, bool) {
	s, ok := q.one(name)
	if !ok {
		return 0, false
	}
	d, ok := parseWholeSeconds(s)
	if !ok {
		q.fail("%s: %q is not a whole number of seconds", name, s)
	}
	return d, ok
}

// farSeconds stands for all greater numbers of seconds, so that a Duration can hold them: 100 years and a bit.
const farSeconds = 1 << 32

// parseWholeSeconds reads digits and nothing else.
func parseWholeSeconds(s string) (time.Duration, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > farSeconds {
		n = farSeconds
	}
	return time.Duration(n) * time.Second, true
}

// seconds returns a duration given in seconds, or false if that is out of all bounds. The bounds of what it is for are the broker's.
func seconds(n float64) (time.Duration, bool) {
	if !(n >= -farSeconds && n <= farSeconds) {
		return 0, false
	}
	return time.Duration(n * float64(time.Second)), true
}

// wait returns how long the request may wait: what the parameter says or else "Prefer: wait=N" (RFC 7240), cut to MaxWait, and whether either says
// anything. A preference that is followed is said so in the answer.
func (c *call) wait(q *query, name string) (time.Duration, bool) {
	d, ok := q.wholeSeconds(name)
	if !ok && q.err == nil {
		if d, ok = preferredWait(c.r.Header); ok {
			d = min(d, c.h.opts.MaxWait)
			c.w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(d/time.Second)))
		}
	}
	return min(d, c.h.opts.MaxWait), ok
}

// preferredWait returns the wait preference. As RFC 7240 has it the first one counts, and what cannot be understood is no preference.
func preferredWait(header http.Header) (time.Duration, bool) {
	for _, line := range header.Values("Prefer") {
		for item := range strings.SplitSeq(line, ",") {
			item, _, _ = strings.Cut(item, ";")
			name, value, _ := strings.Cut(item, "=")
			if strings.EqualFold(strings.TrimSpace(name), "wait") {
				return parseWholeSeconds(strings.Trim(strings.TrimSpace(value), `"`))
			}
		}
	}
	return 0, false
}

// idempotencyKey returns the Idempotency-Key, "" if there is none: a string with quotes, as the draft of the IETF has it, or as it is.
func (c *call) idempotencyKey() (string, error) {
	lines := c.r.Header.Values("Idempotency-Key")
	if len(lines) == 0 {
		return "", nil
	}
	key := lines[0]
	if strings.HasPrefix(key, `"`) {
		var ok bool
		if key, ok = unquote(key); !ok {
			return "", invalid("Idempotency-Key: the quotes do not match")
		}
	}
	if len(lines) > 1 || key == "" {
		return "", invalid("Idempotency-Key: must be there once and not be empty")
	}
	return key, nil
}

// unquote reads the string of a structured field (RFC 8941, 3.3.3).
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	var b strings.Builder
	inner := s[1 : len(s)-1]
	for i := 0; i < len(inner); i++ {
		switch {
		case inner[i] == '"':
			return "", false
		case inner[i] == '\\':
			if i++; i == len(inner) || inner[i] != '"' && inner[i] != '\\' {
				return "", false
			}
		}
		b.WriteByte(inner[i])
	}
	return b.String(), true
}

// id returns the id that a client's text stands for. What is none is not found, like any other that is unknown.
func (h *Handler) id(text string) (jobqueue.ID, error) {
	rest, ok := strings.CutPrefix(text, h.opts.IDPrefix)
	if !ok {
		return jobqueue.ID{}, jobqueue.ErrNotFound
	}
	id, err := jobqueue.ParseID(rest)
	if err != nil {
		return jobqueue.ID{}, jobqueue.ErrNotFound
	}
	return id, nil
}

// job returns the job that the path names, once it is known that the caller may do that with it.
func (c *call) job(a Action) (*jobqueue.Job, error) {
	id, err := c.h.id(c.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	j, err := c.broker.Job(c.r.Context(), id)
	if err != nil {
		return nil, err
	}
	return j, c.allow(a, j.Queue.Name)
}

// queue returns the queue that the path names, once it is known that the caller may do that with it.
func (c *call) queue(a Action) (*jobqueue.Queue, error) {
	name := c.r.PathValue("queue")
	if err := c.allow(a, name); err != nil {
		return nil, err
	}
	return c.broker.Queue(name), nil
}

// token returns the lease token of a request, given in the body, in the header, or in both if they agree.
func (c *call) token(inBody string) (jobqueue.Token, error) {
	lines := c.r.Header.Values("Lease-Token")
	text := inBody
	switch {
	case len(lines) > 1 || len(lines) == 1 && inBody != "" && lines[0] != inBody:
		return jobqueue.Token{}, invalid("lease_token: there are several")
	case len(lines) == 1:
		text = lines[0]
	}
	return c.h.token(text)
}

func (h *Handler) token(text string) (jobqueue.Token, error) {
	if text == "" {
		if h.opts.AnyToken {
			return jobqueue.AnyToken, nil
		}
		return jobqueue.Token{}, invalid("lease_token: is required, here or in the Lease-Token header")
	}
	t, err := jobqueue.ParseToken(text)
	if err == nil && t == jobqueue.AnyToken { // its text is well known: it must not open what tokens guard
		err = invalid("lease_token: is none that was given out")
	}
	return t, err
}
