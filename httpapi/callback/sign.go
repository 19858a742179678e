package callback

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"strconv"
	"time"
)

// The headers of Standard Webhooks.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

const (
	version   = "v1,"     // of a signature in HeaderSignature
	hexPrefix = "sha256=" // of one in a header of the other kind
)

// Sign returns "v1,<base64>", a signature by Standard Webhooks: HMAC-SHA256 over "<id>.<timestamp>.<body>", keyed with the bytes that the
// secret stands for. at is when it is sent, of which whole seconds count. It panics if the secret is not one that ParseSecret takes.
func Sign(s Secret, id string, at time.Time, body []byte) string {
	key, err := s.key()
	if err != nil {
		panic(err)
	}
	return sign(key, id, strconv.FormatInt(at.Unix(), 10), body)
}

func sign(key []byte, id, timestamp string, body []byte) string {
	h := hmac.New(sha256.New, key)
	io.WriteString(h, id+"."+timestamp+".")
	h.Write(body)
	return version + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// SignHex returns "sha256=<hex>", in lower case: HMAC-SHA256 over the body alone, keyed with the bytes of the secret's own text, whsec_
// included. It panics if the secret is empty.
func SignHex(s Secret, body []byte) string {
	if s == "" {
		panic("callback: the secret is empty")
	}
	return hexPrefix + hex.EncodeToString(sumHex(s, body))
}

func sumHex(s Secret, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(s))
	h.Write(body)
	return h.Sum(nil)
}
