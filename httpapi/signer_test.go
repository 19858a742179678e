package httpapi_test

import (
	"errors"
	"maps"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi"
)

func newSigner(t *testing.T, key string) *httpapi.Signer {
	t.Helper()
	s, err := httpapi.NewSigner([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	got := ""
	if p := (*httpapi.Problem)(nil); errors.As(err, &p) {
		got = p.Code
	} else if err != nil {
		got = err.Error()
	}
	if got != code {
		t.Errorf("%s: got %q, want %q", what, got, code)
	}
}

func TestASignatureIsGoodForWhatItWasMadeForUntilItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigner(t, "0123456789abcdef")
		until := time.Now().Add(time.Hour)
		good := s.Sign("GET /files/17", until)
		if len(good) != 2 || len(good.Get("signature")) != 64 || good.Get("expires") != "946688400" { // bubbles begin with the year 2000
			t.Errorf("got %v", good)
		}
		with := func(name string, values ...string) url.Values {
			q := maps.Clone(good)
			delete(q, name)
			if len(values) > 0 {
				q[name] = values
			}
			return q
		}
		signature, expires := good.Get("signature"), good.Get("expires")
		for _, c := range []struct {
			name, what string
			q          url.Values
			code       string
		}{
			{"as it was signed", "GET /files/17", good, ""},
			{"beside other parameters", "GET /files/17", with("download", "1", "2"), ""},
			{"another method", "PUT /files/17", good, "bad_signature"},
			{"another path", "GET /files/18", good, "bad_signature"},
			{"a longer path", "GET /files/17/", good, "bad_signature"},
			{"nothing", "", good, "bad_signature"},
			{"a later time", "GET /files/17", with("expires", "946688401"), "bad_signature"},
			{"the same time in other words", "GET /files/17", with("expires", "0946688400"), "bad_signature"},
			{"a part moved from one to the other", "0\nGET /files/17", with("expires", "94668840"), "bad_signature"},
			{"such a part without a break", "0GET /files/17", with("expires", "94668840"), "bad_signature"},
			{"no time", "GET /files/17", with("expires"), "bad_signature"},
			{"an empty time", "GET /files/17", with("expires", ""), "bad_signature"},
			{"two times", "GET /files/17", with("expires", expires, expires), "bad_signature"},
			{"no signature", "GET /files/17", with("signature"), "bad_signature"},
			{"an empty signature", "GET /files/17", with("signature", ""), "bad_signature"},
			{"two signatures", "GET /files/17", with("signature", signature, signature), "bad_signature"},
			{"upper case", "GET /files/17", with("signature", strings.ToUpper(signature)), "bad_signature"},
			{"half a signature", "GET /files/17", with("signature", signature[:32]), "bad_signature"},
			{"a signature with a tail", "GET /files/17", with("signature", signature+"0"), "bad_signature"},
			{"no parameters", "GET /files/17", nil, "bad_signature"},
		} {
			wantCode(t, c.name, s.Check(c.what, c.q), c.code)
		}
		wantCode(t, "another key", newSigner(t, "0123456789abcdeF").Check("GET /files/17", good), "bad_signature")
		time.Sleep(time.Until(until) - time.Nanosecond)
		wantCode(t, "just in time", s.Check("GET /files/17", good), "")
		time.Sleep(time.Nanosecond)
		wantCode(t, "too late", s.Check("GET /files/17", good), "url_expired")
		wantCode(t, "too late, and forged", s.Check("GET /files/18", good), "bad_signature")
		wantCode(t, "of the past", s.Check("x", s.Sign("x", time.Unix(-5, 0))), "url_expired")
	})
}

func TestSignersOfOneKeyTakeEachOthersSignatures(t *testing.T) {
	until := time.Now().Add(time.Hour)
	one, two := newSigner(t, "a key that is long enough"), newSigner(t, "a key that is long enough")
	if err := two.Check("x", one.Sign("x", until)); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	key := []byte("a key that is long enough")
	own, err := httpapi.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	key[0] = 'A'
	if err := own.Check("x", one.Sign("x", until)); err != nil {
		t.Errorf("after the caller changed its bytes: got %v, want nil", err)
	}
	random, err := httpapi.NewSigner(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := httpapi.NewSigner(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := random.Check("x", random.Sign("x", until)); err != nil {
		t.Errorf("a random key: got %v, want nil", err)
	}
	wantCode(t, "another random key", other.Check("x", random.Sign("x", until)), "bad_signature")
}

func TestAKeyForSigningIsLongEnough(t *testing.T) {
	for _, key := range [][]byte{{}, []byte("x"), make([]byte, 15)} {
		if s, err := httpapi.NewSigner(key); err == nil {
			t.Errorf("%d bytes: got %v, want an error", len(key), s)
		}
		if _, err := httpapi.New(newBroker(t), &httpapi.Options{AllowAnonymous: true, SigningKey: key}); err == nil {
			t.Errorf("New with a key of %d bytes: got no error", len(key))
		}
	}
	if _, err := httpapi.NewSigner(make([]byte, 16)); err != nil {
		t.Errorf("16 bytes: got %v, want nil", err)
	}
}
