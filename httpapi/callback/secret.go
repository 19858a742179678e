package callback

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// A Secret is what sender and receiver share. Its text is "whsec_" and the base64 of the bytes that sign, which Standard Webhooks wants to be
// 24 to 64 random ones; any other text signs with the bytes that it consists of. It does not show itself when it is formatted or logged:
// string(s) is the text. JSON has the text, too, and so has package fmt where it asks no methods: for a field that is not exported, and for
// the verbs %p and %w, which are wrong here.
type Secret string

const (
	secretPrefix = "whsec_"
	newSecret    = 32
	redacted     = "[secret]"
)

// NewSecret returns a random secret of 32 bytes.
func NewSecret() Secret {
	var p [newSecret]byte
	rand.Read(p[:]) // never fails
	return Secret(secretPrefix + base64.StdEncoding.EncodeToString(p[:]))
}

// ParseSecret checks the text of a secret: it is not empty, and what follows "whsec_", if it begins so, is the base64 of something. It may be
// shorter than is safe, where the other side has chosen it. The error does not show it.
func ParseSecret(s string) (Secret, error) {
	_, err := Secret(s).key()
	if err != nil {
		return "", err
	}
	return Secret(s), nil
}

// key returns the bytes that sign by Standard Webhooks.
func (s Secret) key() ([]byte, error) {
	if s == "" {
		return nil, errors.New("callback: the secret is empty")
	}
	text, ok := strings.CutPrefix(string(s), secretPrefix)
	if !ok {
		return []byte(s), nil
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder passes over
		return nil, errors.New("callback: what follows whsec_ in the secret is not base64")
	}
	if len(key) == 0 {
		return nil, errors.New("callback: the secret is empty")
	}
	return key, nil
}

// String does not show the secret.
func (s Secret) String() string { return redacted }

// GoString does not show the secret.
func (s Secret) GoString() string { return redacted }

// Format does not show the secret, whatever the verb, if it is asked: for %p and %w it is not.
func (s Secret) Format(f fmt.State, verb rune) { io.WriteString(f, redacted) }

// LogValue does not show the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
