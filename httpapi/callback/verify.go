package callback

import (
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrSignature says that a request is not one of a sender who has the secret: answer 401, and look at nothing in it.
	ErrSignature = errors.New("callback: bad signature")
	// ErrTimestamp says that a request is signed well, but too long ago or in the future: it may be an old one that somebody repeats, or the
	// clocks differ. It matches ErrSignature.
	ErrTimestamp = fmt.Errorf("%w: the timestamp is out of tolerance", ErrSignature)
)

const defaultTolerance = 5 * time.Minute

// A Verifier checks requests by Standard Webhooks.
type Verifier struct {
	Secrets   []Secret      // any of which may have signed: two while one takes the other's place
	Tolerance time.Duration // by how much a timestamp may differ from now; 0: 5 min, negative: timestamps are not looked at
}

// Verify checks the headers and the body of a request, in a time that does not depend on how much of a signature is right. The body is the
// bytes as they came. Errors: ErrSignature, ErrTimestamp; another one if a secret is not one that ParseSecret takes. A webhook-id that was
// seen before is not known to it: whoever must not do a thing twice keeps the ids.
func (v *Verifier) Verify(h http.Header, body []byte) error {
	id, err := single(h, HeaderID)
	if err != nil {
		return err
	}
	timestamp, err := single(h, HeaderTimestamp)
	if err != nil {
		return err
	}
	signatures, err := single(h, HeaderSignature)
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseUint(timestamp, 10, 62)
	if err != nil {
		return fmt.Errorf("%w: %s is not a number of seconds", ErrSignature, HeaderTimestamp)
	}
	if strings.Contains(id, ".") { // with it, what was signed could be taken apart at another place
		return fmt.Errorf("%w: %s has a full stop", ErrSignature, HeaderID)
	}
	signed, err := v.signed(id, timestamp, body, strings.Fields(signatures))
	if err != nil {
		return err
	}
	if !signed {
		return ErrSignature
	}
	tolerance := v.Tolerance
	if tolerance == 0 {
		tolerance = defaultTolerance
	}
	if tolerance > 0 && time.Since(time.Unix(int64(seconds), 0)).Abs() > tolerance {
		return ErrTimestamp
	}
	return nil
}

// signed reports whether any of the signatures is by any of the secrets.
func (v *Verifier) signed(id, timestamp string, body []byte, signatures []string) (bool, error) {
	signed := false
	for _, s := range v.Secrets {
		key, err := s.key()
		if err != nil {
			return false, err
		}
		want := []byte(sign(key, id, timestamp, body))
		for _, got := range signatures {
			if hmac.Equal([]byte(got), want) {
				signed = true
			}
		}
	}
	return signed, nil
}

// single returns the value of a header that must be there once.
func single(h http.Header, name string) (string, error) {
	values := h.Values(name)
	if len(values) != 1 || values[0] == "" {
		return "", fmt.Errorf("%w: %s is not there once", ErrSignature, name)
	}
	return values[0], nil
}

// Request reads a request's body, of at most max bytes, and verifies the request. Errors: those of Verify, an *http.MaxBytesError if the body
// is larger, or what kept it from being read. It answers nothing itself.
func (v *Verifier) Request(w http.ResponseWriter, r *http.Request, max int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, max))
	if err != nil {
		return nil, err
	}
	if err := v.Verify(r.Header, body); err != nil {
		return nil, err
	}
	return body, nil
}

// VerifyHex checks a header with "sha256=<hex>", in a time that does not depend on how much of it is right. The error matches ErrSignature,
// unless it says that the secret is empty. Such a signature has no time: whoever sees an old request can repeat it.
func VerifyHex(s Secret, header string, body []byte) error {
	if s == "" {
		return errors.New("callback: the secret is empty")
	}
	text, ok := strings.CutPrefix(header, hexPrefix)
	got, err := hex.DecodeString(text)
	if !ok || err != nil || !hmac.Equal(got, sumHex(s, body)) {
		return ErrSignature
	}
	return nil
}
