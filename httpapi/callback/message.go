package callback

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
)

// A Message is one callback.
type Message struct {
	URL             string      // see outbound.CheckURL
	Body            []byte      // nil: the job's payload as it is
	ContentType     string      // of the body; "application/json"
	Secrets         []Secret    // the current one first; webhook-signature has one signature for each. At least one
	SignatureHeader string      // such as "X-Phota-Signature": one more header, with SignHex by the current secret; "" for none
	Header          http.Header // more headers, which do not replace those that Send sets
}

// check returns the URL, or why the message cannot be sent.
func (m *Message) check() (*url.URL, error) {
	u, err := outbound.CheckURL(m.URL, true) // whether plain HTTP is allowed is the client's business
	if err != nil {
		return nil, err
	}
	if len(m.Secrets) == 0 {
		return nil, errors.New("callback: the message has no secret")
	}
	for _, s := range m.Secrets {
		if _, err := s.key(); err != nil {
			return nil, err
		}
	}
	switch name := http.CanonicalHeaderKey(m.SignatureHeader); {
	case name == "":
	case !isToken(name), strings.HasPrefix(name, "Webhook-"), name == "Content-Type", name == "User-Agent":
		return nil, fmt.Errorf("callback: %q cannot be the header of a signature", name)
	}
	if err := checkHeader("Content-Type", m.ContentType); err != nil {
		return nil, err
	}
	for name, values := range m.Header {
		if err := checkHeader(name, values...); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// request makes the request of one attempt, at a time.
func (m *Message) request(ctx context.Context, u *url.URL, id string, body []byte, at time.Time) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range m.Header {
		name = http.CanonicalHeaderKey(name)
		r.Header[name] = append(r.Header[name], values...)
	}
	signatures := make([]string, len(m.Secrets))
	for i, s := range m.Secrets {
		signatures[i] = Sign(s, id, at, body)
	}
	r.Header.Set("Content-Type", cmp.Or(m.ContentType, "application/json"))
	r.Header.Set("User-Agent", outbound.UserAgent)
	r.Header.Set(HeaderID, id)
	r.Header.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	r.Header.Set(HeaderSignature, strings.Join(signatures, " "))
	if m.SignatureHeader != "" {
		r.Header.Set(m.SignatureHeader, SignHex(m.Secrets[0], body))
	}
	return r, nil
}

// checkHeader demands that a header can be sent.
func checkHeader(name string, values ...string) error {
	if !isToken(name) {
		return fmt.Errorf("callback: %q is not the name of a header", name)
	}
	for _, v := range values {
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return fmt.Errorf("callback: the value of header %s has control characters", name)
		}
	}
	return nil
}

// isToken reports whether s can be the name of a header (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		alphanumeric := r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		return !alphanumeric && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}
