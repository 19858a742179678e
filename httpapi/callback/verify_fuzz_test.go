package callback_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
)

// FuzzVerify looks for headers and a body that a Verifier takes without one of its secrets having signed them, or outside of its tolerance, or that
// it refuses though they are good (threat: Forged or replayed callback). Each request is held against Standard Webhooks, written down here again.
func FuzzVerify(f *testing.F) {
	const secret = callback.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	const plain = callback.Secret("a secret of another kind")
	v := callback.Verifier{Secrets: []callback.Secret{secret, plain}}
	now := fmt.Sprint(time.Now().Unix())
	for _, s := range []string{"SIGNED", "v1,x SIGNED", "SIGNED,", "v1,", "v1a,SIGNED", "OTHER  SIGNED", "OTHER", "FORGED", "", "SIGNED\t", strings.Repeat("v1, ", 100) + "SIGNED"} {
		f.Add("msg_1", "NOW", s, []byte("{}"))
	}
	for _, at := range []string{now, "0", "-1", "+NOW", "NOW.0", " NOW", "99999999999999999999", "4611686018427387904", "4611686018427387903", "0NOW", "", "NOW1", "0x1"} {
		f.Add("msg_1", at, "SIGNED", []byte("{}"))
	}
	f.Add("a.b", "NOW", "SIGNED", []byte(""))
	f.Add("", "NOW", "SIGNED", []byte("\xff"))
	keys := make([][]byte, 2)
	keys[0], _ = base64.StdEncoding.DecodeString(strings.TrimPrefix(string(secret), "whsec_"))
	keys[1] = []byte(plain)
	f.Fuzz(func(t *testing.T, id, timestamp, signatures string, body []byte) {
		now := time.Now().Unix()
		timestamp = strings.ReplaceAll(timestamp, "NOW", strconv.FormatInt(now, 10))
		sign := func(key []byte) string {
			h := hmac.New(sha256.New, key)
			fmt.Fprintf(h, "%s.%s.%s", id, timestamp, body)
			return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
		}
		good := []string{sign(keys[0]), sign(keys[1])}
		signatures = strings.NewReplacer("SIGNED", good[0], "OTHER", good[1], "FORGED", sign([]byte("x"))).Replace(signatures)
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signatures}}
		err := v.Verify(h, body)

		signed := false
		for _, s := range strings.Fields(signatures) {
			signed = signed || s == good[0] || s == good[1]
		}
		signed = signed && id != "" && !strings.Contains(id, ".") && regexp.MustCompile(`^[0-9]+$`).MatchString(timestamp)
		at, _ := new(big.Int).SetString(timestamp, 10)
		if signed = signed && at.BitLen() <= 62; !signed {
			if !errors.Is(err, callback.ErrSignature) || errors.Is(err, callback.ErrTimestamp) {
				t.Fatalf("%q %q %q: got %v, want %v", id, timestamp, signatures, err, callback.ErrSignature)
			}
			return
		}
		away := new(big.Int).Sub(at, big.NewInt(now))
		switch away.Abs(away); {
		case away.Cmp(big.NewInt(290)) < 0 && err != nil: // time goes by here, too
			t.Fatalf("%q %q %q: got %v", id, timestamp, signatures, err)
		case away.Cmp(big.NewInt(310)) > 0 && !errors.Is(err, callback.ErrTimestamp):
			t.Fatalf("%q %q %q: got %v, want %v", id, timestamp, signatures, err, callback.ErrTimestamp)
		}
		h.Add("Webhook-Id", id)
		if err := v.Verify(h, body); !errors.Is(err, callback.ErrSignature) {
			t.Fatalf("with the id twice: got %v", err)
		}
	})
}

// FuzzVerifyHex looks for a header that is taken without the secret having signed the body.
func FuzzVerifyHex(f *testing.F) {
	for _, s := range []string{"SIGNED", "sha256=", "sha256=00", "SHA256=SUM", "SUM", "sha256=SUM0", "sha256=SUM ", "sha256=UPPER", "sha256=sha256=SUM", ""} {
		f.Add("whsec_a", s, []byte("{}"))
	}
	f.Fuzz(func(t *testing.T, secret, header string, body []byte) {
		if secret == "" {
			return
		}
		h := hmac.New(sha256.New, []byte(secret))
		h.Write(body)
		sum := hex.EncodeToString(h.Sum(nil))
		header = strings.NewReplacer("SIGNED", "sha256="+sum, "SUM", sum, "UPPER", strings.ToUpper(sum)).Replace(header)
		want := strings.HasPrefix(header, "sha256=") && strings.ToLower(header[len("sha256="):]) == sum
		if err := callback.VerifyHex(callback.Secret(secret), header, body); (err == nil) != want || err != nil && !errors.Is(err, callback.ErrSignature) {
			t.Fatalf("%q, %q: got %v, want good: %v", secret, header, err, want)
		}
	})
}

// FuzzSecret looks for a text that is taken for a secret though nothing can be signed with it, that signs what it does not verify, or that shows
// itself in an error or when it is formatted (threat: Log/metric leaks).
func FuzzSecret(f *testing.F) {
	for _, s := range []string{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_====", "whsec_QQ", "whsec_QQ==", "whsec_QR==", "whsec_QQ==\n", "whsec_QQ=\r=", "", "x", "whsec", "WHSEC_x", "whsec_whsec_QQ==", "\xff",
	} {
		f.Add(s, "%+v")
	}
	f.Add("secret word", "%x")
	f.Fuzz(func(t *testing.T, text, format string) {
		s, err := callback.ParseSecret(text)
		if rest, standard := strings.CutPrefix(text, "whsec_"); standard {
			key, wrong := base64.StdEncoding.DecodeString(rest)
			if want := wrong == nil && len(key) > 0 && base64.StdEncoding.EncodeToString(key) == rest; (err == nil) != want {
				t.Fatalf("%q: got %v, want good: %v", text, err, want)
			}
		} else if (err == nil) != (text != "") {
			t.Fatalf("%q: got %v", text, err)
		}
		if err != nil {
			if hidden := strings.TrimPrefix(text, "whsec_"); len(hidden) > 7 && strings.Contains(err.Error(), hidden) || s != "" {
				t.Fatalf("%q: got %q, %v", text, string(s), err)
			}
			return
		}
		if string(s) != text {
			t.Fatalf("%q: got %q", text, string(s))
		}
		if m := regexp.MustCompile(`%[-+# 0]*[a-zA-Z]`).FindString(format); m != "" && !strings.ContainsAny(m, "Tpw") { // for which fmt asks no method
			if shown := fmt.Sprintf(m, s); shown != "[secret]" {
				t.Fatalf("%s: got %q", m, shown)
			}
		}
		at := time.Now()
		h := http.Header{}
		h.Set(callback.HeaderID, "id")
		h.Set(callback.HeaderTimestamp, fmt.Sprint(at.Unix()))
		h.Set(callback.HeaderSignature, callback.Sign(s, "id", at, []byte(text)))
		if err := (&callback.Verifier{Secrets: []callback.Secret{s}}).Verify(h, []byte(text)); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if err := callback.VerifyHex(s, callback.SignHex(s, []byte(text)), []byte(text)); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
