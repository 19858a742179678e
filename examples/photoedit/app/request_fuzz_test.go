package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"image"
	"net/url"
	"strings"
	"testing"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
)

// FuzzRequest looks for a body whose fields panic, that is refused without saying which field is wrong, or that is taken beyond its bounds.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{"prompt":"rotate left","image":"AAEC"}`, `{"prompt":"blur","image_url":"https://a.example/x.png","async":true,"response_mode":"urls","callback_url":"https://b.example/"}`,
		`{"image":"data:image/png;base64,AAEC","client_request_id":"r1"}`, `{"image":"data:,x"}`, `{"image":"AA","image_url":"https://a.example/"}`, `{"async":true}`, `{"response_mode":null,"image":""}`,
		`{"client_request_id":""}`, `{"client_request_id":"\u0000"}`, `{"prompt":"resize 99999x99999","image":"AA=="}`, `{"callback_url":"http://127.0.0.1/","async":true,"response_mode":"urls","image":"AA=="}`, `{"prompt":5}`, `[]`, `null`,
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, body string, draws bool) {
		var in fields
		if json.Unmarshal([]byte(body), &in) != nil {
			return
		}
		id, err := in.requestID()
		if err == nil && (len(id) > jobqueue.MaxName || strings.ContainsAny(id, "\x00\n")) {
			t.Fatalf("got the id %q", id)
		}
		operation := "edit"
		if draws {
			operation = generate
		}
		r, err2 := in.request(operation, Config{})
		for _, err := range []error{err, err2} {
			var p *httpapi.Problem
			if err != nil && (!errors.As(err, &p) || p.Status != 422 || !strings.Contains(p.Detail, ": ")) {
				t.Fatalf("%s: got %v", body, err)
			}
		}
		if err2 != nil {
			return
		}
		if len(r.Prompt) > maxPrompt || r.async && !r.urls || r.callbackURL != "" && !r.async || operation != generate && (r.ImageURL == "") == (in.given("image_url")) {
			t.Fatalf("%s: got %+v", body, r)
		}
		for _, s := range []string{r.ImageURL, r.callbackURL} {
			if u, err := url.Parse(s); s != "" && (err != nil || u.Host == "" || u.User != nil || len(s) > outbound.MaxURL) {
				t.Fatalf("%s: got the URL %q", body, s)
			}
		}
		if r.ImageURL != "" || operation == generate {
			return
		}
		var text string
		json.Unmarshal(in["image"], &text)
		if strings.HasPrefix(text, "data:") {
			_, text, _ = strings.Cut(text, ",")
		}
		if want, err := base64.StdEncoding.DecodeString(text); err != nil || string(r.Image) != string(want) {
			t.Fatalf("%s: got the image %x, want %x, %v", body, r.Image, want, err)
		}
	})
}

// FuzzPrompt looks for a prompt that panics, or whose steps make an image of no pixels, or of more than are allowed (threat: Memory blow-up).
func FuzzPrompt(f *testing.F) {
	for _, s := range []string{
		"please rotate it left, then blur", "resize 320x200", "resize to 0x1", "resize 99999999999999999999x1", "resize -1x2", "half half half", "double, mirror", "ROTATE 90 flip", "resize", "rotate", "enhance sharpen brighter gray",
		strings.Repeat("flip ", 17), "resize 1x40000000", "ſharpen", "half resize 2x1 rotate 270 invert",
	} {
		f.Add(s, uint8(3), uint8(2))
	}
	f.Fuzz(func(t *testing.T, prompt string, width, height uint8) {
		steps, err := parse(prompt)
		if err != nil {
			return
		}
		if len(steps) > maxSteps {
			t.Fatalf("%q: got %d steps", prompt, len(steps))
		}
		img := image.NewNRGBA(image.Rect(0, 0, 1+int(width), 1+int(height)))
		for _, s := range steps {
			next, err := s(context.Background(), img)
			if err != nil {
				if !errors.Is(err, errTooManyPixels) {
					t.Fatalf("%q: %v", prompt, err)
				}
				return
			}
			w, h := next.Rect.Dx(), next.Rect.Dy()
			if w < 1 || h < 1 || w > maxPixels/h || len(next.Pix) < 4*w*h {
				t.Fatalf("%q: got an image of %dx%d", prompt, w, h)
			}
			if img = next; w*h > 1<<18 {
				return // large enough for a test
			}
		}
	})
}
