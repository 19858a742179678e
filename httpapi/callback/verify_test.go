package callback_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
)

// signed returns the headers of a request.
func signed(s callback.Secret, id string, at time.Time, body []byte) http.Header {
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", fmt.Sprint(at.Unix()))
	h.Set("webhook-signature", callback.Sign(s, id, at, body))
	return h
}

func TestVerifyTakesWhatIsSigned(t *testing.T) {
	now, body := time.Now(), []byte(vectorBody)
	other := callback.NewSecret()
	good := signed(vectorSecret, "id", now, body)
	both := signed(vectorSecret, "id", now, body)
	both.Set("webhook-signature", callback.Sign(other, "id", now, body)+" v1a,AAAA v2,x  "+good.Get("webhook-signature")+" v1,")
	raw := signed("any text", "id", now, nil)
	for _, tt := range []struct {
		name    string
		secrets []callback.Secret
		header  http.Header
		body    []byte
	}{
		{"one secret", []callback.Secret{vectorSecret}, good, body},
		{"the second of two secrets", []callback.Secret{other, vectorSecret}, good, body},
		{"the last of several signatures", []callback.Secret{vectorSecret}, both, body},
		{"the first of several signatures", []callback.Secret{other}, both, body},
		{"a secret without prefix, and no body", []callback.Secret{"any text"}, raw, nil},
	} {
		v := &callback.Verifier{Secrets: tt.secrets}
		if err := v.Verify(tt.header, tt.body); err != nil {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
	v := &callback.Verifier{Secrets: []callback.Secret{vectorSecret}, Tolerance: -1}
	h := signed(vectorSecret, vectorID, time.Unix(vectorTime, 0), body)
	h.Set("webhook-signature", vectorSignature)
	if err := v.Verify(h, body); err != nil {
		t.Errorf("the published vector, its age aside: got %v", err)
	}
}

func TestVerifyRefusesAChangedByte(t *testing.T) {
	now, body := time.Now(), []byte(vectorBody)
	v := &callback.Verifier{Secrets: []callback.Secret{vectorSecret}}
	good := signed(vectorSecret, "id", now, body)
	for i := range body {
		changed := bytes.Clone(body)
		changed[i] ^= 1
		if err := v.Verify(good, changed); !errors.Is(err, callback.ErrSignature) {
			t.Errorf("byte %d of the body changed: got %v, want ErrSignature", i, err)
		}
	}
	for _, changed := range [][]byte{nil, body[1:], body[:len(body)-1], append(bytes.Clone(body), '\n'), append([]byte(" "), body...)} {
		if err := v.Verify(good, changed); !errors.Is(err, callback.ErrSignature) {
			t.Errorf("body %q: got %v, want ErrSignature", changed, err)
		}
	}
	for name := range good {
		value := good.Get(name)
		for i := range len(value) {
			h := good.Clone()
			p := []byte(value)
			p[i] ^= 1
			h.Set(name, string(p))
			if err := v.Verify(h, body); !errors.Is(err, callback.ErrSignature) {
				t.Errorf("byte %d of %s changed: got %v, want ErrSignature", i, name, err)
			}
		}
	}
}

func TestVerifyRefusesOddHeaders(t *testing.T) {
	now, body := time.Now(), []byte(vectorBody)
	v := &callback.Verifier{Secrets: []callback.Secret{vectorSecret}}
	good := signed(vectorSecret, "id", now, body)
	for name := range good {
		for what, values := range map[string][]string{"missing": nil, "empty": {""}, "there twice": {good.Get(name), good.Get(name)}} {
			h := good.Clone()
			h[name] = values
			if err := v.Verify(h, body); !errors.Is(err, callback.ErrSignature) {
				t.Errorf("%s is %s: got %v, want ErrSignature", name, what, err)
			}
		}
	}
	for _, timestamp := range []string{"now", "-1", "+1", "1.5", " 1", "1e9", "0x10", "99999999999999999999", "4611686018427387904"} {
		h := good.Clone()
		h.Set("webhook-timestamp", timestamp)
		if err := v.Verify(h, body); !errors.Is(err, callback.ErrSignature) {
			t.Errorf("timestamp %q: got %v, want ErrSignature", timestamp, err)
		}
	}
	// What was signed as id, time and body must not be taken for another id, time and body.
	tail := []byte(fmt.Sprintf("%d.rest", now.Unix()))
	h := signed(vectorSecret, "id", now, tail)
	h.Set("webhook-id", fmt.Sprintf("id.%d", now.Unix()))
	if err := v.Verify(h, []byte("rest")); !errors.Is(err, callback.ErrSignature) {
		t.Errorf("taken apart at another place: got %v, want ErrSignature", err)
	}
	for _, sig := range []string{strings.TrimPrefix(good.Get("webhook-signature"), "v1,"), "v2" + good.Get("webhook-signature")[2:], "v1", "v1,", ","} {
		h := good.Clone()
		h.Set("webhook-signature", sig)
		if err := v.Verify(h, body); !errors.Is(err, callback.ErrSignature) {
			t.Errorf("signature %q: got %v, want ErrSignature", sig, err)
		}
	}
}

func TestVerifyFailsClosed(t *testing.T) {
	body := []byte(vectorBody)
	h := signed(vectorSecret, "id", time.Now(), body)
	if err := new(callback.Verifier).Verify(h, body); !errors.Is(err, callback.ErrSignature) {
		t.Errorf("no secret: got %v, want ErrSignature", err)
	}
	for _, bad := range []callback.Secret{"", "whsec_!!!"} {
		v := &callback.Verifier{Secrets: []callback.Secret{vectorSecret, bad}}
		if err := v.Verify(h, body); err == nil || errors.Is(err, callback.ErrSignature) {
			t.Errorf("secret %q: got %v, want an error about the secret", string(bad), err)
		}
		if err := callback.VerifyHex("", callback.SignHex("x", nil), nil); err == nil || errors.Is(err, callback.ErrSignature) {
			t.Errorf("VerifyHex without a secret: got %v, want an error about the secret", err)
		}
	}
}

func TestTimestampsHaveATolerance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := []byte(vectorBody)
		for _, tt := range []struct {
			tolerance, age time.Duration
			want           error
		}{
			{0, 0, nil},
			{0, 5 * time.Minute, nil},
			{0, 5*time.Minute + time.Second, callback.ErrTimestamp},
			{0, -5 * time.Minute, nil},
			{0, -5*time.Minute - time.Second, callback.ErrTimestamp},
			{0, 20 * 365 * 24 * time.Hour, callback.ErrTimestamp},
			{time.Minute, time.Minute, nil},
			{time.Minute, time.Minute + time.Second, callback.ErrTimestamp},
			{time.Hour, -time.Hour, nil},
			{-1, 24 * time.Hour, nil},
		} {
			v := &callback.Verifier{Secrets: []callback.Secret{vectorSecret}, Tolerance: tt.tolerance}
			err := v.Verify(signed(vectorSecret, "id", time.Now().Add(-tt.age), body), body)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("tolerance %v, age %v: got %v, want %v", tt.tolerance, tt.age, err, tt.want)
			}
			if tt.want != nil && !errors.Is(err, callback.ErrSignature) {
				t.Errorf("got %v, want it to match ErrSignature, too", err)
			}
			forged := signed(callback.NewSecret(), "id", time.Now().Add(-tt.age), body)
			if err := v.Verify(forged, body); !errors.Is(err, callback.ErrSignature) || errors.Is(err, callback.ErrTimestamp) {
				t.Errorf("forged, age %v: got %v, want only ErrSignature", tt.age, err)
			}
		}
	})
}

func TestVerifyHex(t *testing.T) {
	body := []byte(vectorBody)
	good := callback.SignHex(vectorSecret, body)
	if err := callback.VerifyHex(vectorSecret, good, body); err != nil {
		t.Errorf("got %v", err)
	}
	for i := range body {
		changed := bytes.Clone(body)
		changed[i] ^= 1
		if err := callback.VerifyHex(vectorSecret, good, changed); !errors.Is(err, callback.ErrSignature) {
			t.Errorf("byte %d of the body changed: got %v, want ErrSignature", i, err)
		}
	}
	for i := range len(good) {
		p := []byte(good)
		p[i] ^= 1
		if err := callback.VerifyHex(vectorSecret, string(p), body); !errors.Is(err, callback.ErrSignature) {
			t.Errorf("byte %d of the header changed: got %v, want ErrSignature", i, err)
		}
	}
	for _, h := range []string{"", "sha256=", good[7:], good[:len(good)-2], good + "00", "sha1=" + good[7:], good + "\n"} {
		if err := callback.VerifyHex(vectorSecret, h, body); !errors.Is(err, callback.ErrSignature) {
			t.Errorf("%q: got %v, want ErrSignature", h, err)
		}
	}
}

func TestRequestReadsAndVerifies(t *testing.T) {
	v := &callback.Verifier{Secrets: []callback.Secret{vectorSecret}}
	ask := func(body string, max int64) ([]byte, error) {
		r := httptest.NewRequest("POST", "/hook", strings.NewReader(body))
		r.Header = signed(vectorSecret, "id", time.Now(), []byte("hello"))
		return v.Request(httptest.NewRecorder(), r, max)
	}
	if body, err := ask("hello", 5); string(body) != "hello" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
	var tooLarge *http.MaxBytesError
	if body, err := ask("hello", 4); body != nil || !errors.As(err, &tooLarge) {
		t.Errorf("over the limit: got %q, %v, want a MaxBytesError", body, err)
	}
	if body, err := ask("hellO", 5); body != nil || !errors.Is(err, callback.ErrSignature) {
		t.Errorf("changed: got %q, %v, want ErrSignature and no body", body, err)
	}
}
