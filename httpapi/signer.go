package httpapi

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"strconv"
	"time"
)

// minSigningKey is how many bytes a key for signing must have.
const minSigningKey = 16

// A Signer signs URLs that let whoever has them do one thing until a time, without credentials: fetch a file, or upload one. It is safe for
// concurrent use.
type Signer struct{ key []byte }

// NewSigner returns a Signer with a key of at least 16 bytes, which should be random and must stay secret: whoever knows it can sign. Signers with one
// key take each other's signatures, so what they sign must say what it is for. With a nil key it makes a random one, and its URLs end with the process.
func NewSigner(key []byte) (*Signer, error) {
	switch {
	case key == nil:
		key = make([]byte, sha256.Size)
		rand.Read(key) // never fails
	case len(key) < minSigningKey:
		return nil, errors.New("httpapi: a key for signing has at least 16 bytes")
	}
	return &Signer{bytes.Clone(key)}, nil
}

// Sign returns the parameters for a URL that is good for what is named, until a time, to the second before it: "expires", in seconds since 1970, and
// "signature", HMAC-SHA256 over both in hexadecimal. what is any text that says all that matters, such as "GET /files/17": the parts of the URL that are
// not in it may be changed by whoever has the URL.
func (s *Signer) Sign(what string, until time.Time) url.Values {
	expires := strconv.FormatInt(until.Unix(), 10)
	return url.Values{"expires": {expires}, "signature": {s.mac(what, expires)}}
}

// Check returns nil if the parameters are those that Sign returned for what is named and their time, by the system's clock, is not over. Else it is a
// *Problem: 403 "bad_signature", also where one of the two is missing or there twice, or 410 "url_expired". It looks at no other parameters.
func (s *Signer) Check(what string, q url.Values) error {
	expires, signature := q["expires"], q["signature"]
	if len(expires) != 1 || len(signature) != 1 || !hmac.Equal([]byte(signature[0]), []byte(s.mac(what, expires[0]))) {
		return errBadSignature
	}
	until, err := strconv.ParseInt(expires[0], 10, 64)
	if err != nil { // signed by another program with the same key
		return errBadSignature
	}
	if time.Now().Unix() >= until {
		return errURLExpired
	}
	return nil
}

// mac begins with what has no line break, so that no two pairs are the same text.
func (s *Signer) mac(what, expires string) string {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(expires + "\n" + what))
	return hex.EncodeToString(h.Sum(nil))
}
