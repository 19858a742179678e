package callback_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pollackq/pollack/httpapi/callback"
)

func whsec(bytes int) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s", bytes)))
}

func TestSecretsThatAreTaken(t *testing.T) {
	for _, s := range []string{whsec(1), whsec(24), whsec(25), whsec(32), whsec(64), whsec(65), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "any text", "WHSEC_!", "x"} {
		if got, err := callback.ParseSecret(s); string(got) != s || err != nil {
			t.Errorf("%q: got %q, %v", s, string(got), err)
		}
	}
}

func TestSecretsThatAreRefused(t *testing.T) {
	for _, s := range []string{
		"", "whsec_", "whsec_!!!", strings.TrimRight(whsec(25), "="), whsec(24) + "\n", whsec(24) + "====", "whsec_" + whsec(24),
	} {
		got, err := callback.ParseSecret(s)
		if got != "" || err == nil {
			t.Errorf("%q: got %q, %v, want an error", s, string(got), err)
		}
		if err != nil && len(s) > 10 && strings.Contains(err.Error(), s[6:]) {
			t.Errorf("%q: the error shows it: %v", s, err)
		}
	}
}

func TestNewSecretsDiffer(t *testing.T) {
	seen := make(map[callback.Secret]bool)
	for range 100 {
		s := callback.NewSecret()
		if _, err := callback.ParseSecret(string(s)); err != nil || len(s) != 6+44 || seen[s] {
			t.Fatalf("got %q, %v, seen %v", string(s), err, seen[s])
		}
		seen[s] = true
	}
}

func TestASecretDoesNotShowItself(t *testing.T) {
	s := callback.NewSecret()
	m := &callback.Message{URL: "https://example.com", Secrets: []callback.Secret{s}}
	key, _ := base64.StdEncoding.DecodeString(string(s[6:]))
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T%[1]v", "%10.3s", "%t"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", []callback.Secret{s})
		fmt.Fprintf(&out, verb+"\n", *m)
		fmt.Fprintf(&out, verb+"\n", m)
	}
	fmt.Fprintln(&out, s, s.String(), s.GoString(), fmt.Errorf("error: %v", s))
	slog.New(slog.NewTextHandler(&out, nil)).Info("text", "secret", s, "message", m)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "secret", s)
	for _, what := range []string{string(s), string(s[6:]), fmt.Sprintf("%x", string(s)), fmt.Sprintf("%x", key), fmt.Sprintf("%X", string(s))} {
		if strings.Contains(out.String(), what) {
			t.Errorf("got %q in\n%s", what, out.String())
		}
	}
	if p, err := json.Marshal(map[string]callback.Secret{"secret": s}); err != nil || !strings.Contains(string(p), string(s)) {
		t.Errorf("JSON: got %s, %v, want the text itself", p, err)
	}
}
