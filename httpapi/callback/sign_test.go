package callback_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
)

// The published vector of the Standard Webhooks libraries.
const (
	vectorSecret    = callback.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime      = 1614265330
	vectorBody      = `{"test": 2432232314}`
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func TestSignGivesThePublishedSignatures(t *testing.T) {
	at := time.Unix(vectorTime, 999_999_999) // the part of a second does not count
	if got := callback.Sign(vectorSecret, vectorID, at, []byte(vectorBody)); got != vectorSignature {
		t.Errorf("got %s, want %s", got, vectorSignature)
	}
	// Computed with OpenSSL: printf 'id.1.' | openssl dgst -sha256 -hmac text -binary | base64
	if got, want := callback.Sign("text", "id", time.Unix(1, 0), nil), "v1,5rMxIB4ClglCfYR0hp0pydBZ1am1qDKBglniD5dX/YE="; got != want {
		t.Errorf("a secret without prefix: got %s, want %s", got, want)
	}
}

func TestSignHexGivesThePublishedSignatures(t *testing.T) {
	// Secret and body are those of GitHub's documentation on validating webhook deliveries. Computed with OpenSSL.
	got := callback.SignHex("It's a Secret to Everybody", []byte("Hello, World!"))
	if want := "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// Computed with OpenSSL: the key is the whole text, whsec_ included.
	got = callback.SignHex(vectorSecret, []byte(vectorBody))
	if want := "sha256=80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSigningWithNoSecretPanics(t *testing.T) {
	for name, sign := range map[string]func(){
		"Sign with none":       func() { callback.Sign("", "id", time.Now(), nil) },
		"Sign with bad base64": func() { callback.Sign("whsec_!", "id", time.Now(), nil) },
		"SignHex with none":    func() { callback.SignHex("", nil) },
	} {
		func() {
			defer func() {
				if r := recover(); r == nil || strings.Contains(name, "base64") && strings.Contains(r.(error).Error(), "!") {
					t.Errorf("%s: got %v, want a panic without the secret", name, r)
				}
			}()
			sign()
		}()
	}
}
