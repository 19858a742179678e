package httpapi_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pollackq/pollack/httpapi"
)

// FuzzPlain holds what is read without encoding/json against what that reads.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{
		`{"lease_token":"0123"}`, ` { "lease_token" : "x" } `, `{"lease_token":"x","other":1}`, `{"lease_token":"\u0061"}`, `{"lease_token":"ä"}`, `{"lease_token":"x"`,
		`{"lease_token":"x"}}`, `{"lease_token":"x","lease_token":"y"}`, `{"lease_token":1}`, `{}`, ``, `{"lease_token":"x}`, `{"LEASE_TOKEN":"x"}`,
		`{"acks":[{"id":"a","lease_token":"b"}]}`, `{"acks":[{"id":"a","lease_token":"b"},{"id":"c","lease_token":""}]}`, `{"acks": [ {"id": "a", "lease_token": "b"} ] }`,
		`{"acks":[]}`, `{"acks":null}`, `{"acks":[{"lease_token":"b","id":"a"}]}`, `{"acks":[{"id":"a"}]}`, `{"acks":[{"id":"a","lease_token":"b"},]}`,
		`{"acks":[{"id":"a","lease_token":"b"}],"acks":[]}`, `{"acks":[{"id":"\n","lease_token":"b"}]}`, "{\"acks\":[{\"id\":\"\x7f\",\"lease_token\":\"\x00\"}]}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want struct {
			Token string             `json:"lease_token"`
			Acks  []httpapi.PlainAck `json:"acks"`
		}
		err := json.Unmarshal([]byte(s), &want)
		if token, ok := httpapi.PlainToken([]byte(s)); ok && (err != nil || token != want.Token) {
			t.Errorf("%q: got token %q, want %q, %v", s, token, want.Token, err)
		}
		if acks, ok := httpapi.PlainAcks([]byte(s)); ok && (err != nil || !slices.Equal(acks, want.Acks)) {
			t.Errorf("%q: got acks %q, want %q, %v", s, acks, want.Acks, err)
		}
	})
}

func TestUsualBodiesArePlain(t *testing.T) {
	for _, s := range []string{`{"lease_token":"0af1"}`, `{"lease_token": "0af1"}`, "{\n  \"lease_token\": \"0af1\"\n}"} {
		if token, ok := httpapi.PlainToken([]byte(s)); !ok || token != "0af1" {
			t.Errorf("%s: got %q, %v", s, token, ok)
		}
	}
	two := `{"acks": [{"id": "a", "lease_token": "b"}, {"id": "a", "lease_token": "b"}]}`
	for _, s := range []string{two, strings.ReplaceAll(two, " ", ""), strings.ReplaceAll(two, " ", "\n\t")} {
		if acks, ok := httpapi.PlainAcks([]byte(s)); !ok || len(acks) != 2 || acks[1] != (httpapi.PlainAck{ID: "a", Token: "b"}) {
			t.Errorf("%s: got %q, %v", s, acks, ok)
		}
	}
}
