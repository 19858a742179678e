package contract

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/pollackq/pollack/internal/contract"
)

// huge is a PNG that says it has a few more pixels than are allowed.
var huge = func() []byte {
	p := slices.Clone(cat)
	binary.BigEndian.PutUint32(p[16:], 40_000) // the width, then the height, in its first chunk
	binary.BigEndian.PutUint32(p[20:], 1_001)
	binary.BigEndian.PutUint32(p[29:], crc32.ChecksumIEEE(p[12:29]))
	return p
}()

// unprocessable are fields that no endpoint takes.
var unprocessable = map[string]object{
	"async without response_mode":        {"async": true},
	"async with bytes":                   {"async": true, "response_mode": "bytes"},
	"async that is no bool":              {"async": "yes", "response_mode": "urls"},
	"an unknown response_mode":           {"response_mode": "zip"},
	"an unknown response_mode, async":    {"async": true, "response_mode": "zip"},
	"a response_mode that is no string":  {"response_mode": 1},
	"callback_url without async":         {"callback_url": "https://receiver.example/"},
	"callback_url without async, urls":   {"callback_url": "https://receiver.example/", "response_mode": "urls"},
	"callback_url with async: false":     {"callback_url": "https://receiver.example/", "async": false},
	"callback_url in plain HTTP":         {"async": true, "response_mode": "urls", "callback_url": "http://receiver.example/"},
	"callback_url of another scheme":     {"async": true, "response_mode": "urls", "callback_url": "ftp://receiver.example/"},
	"callback_url without scheme":        {"async": true, "response_mode": "urls", "callback_url": "receiver.example/x"},
	"callback_url without host":          {"async": true, "response_mode": "urls", "callback_url": "https:///x"},
	"callback_url with a password":       {"async": true, "response_mode": "urls", "callback_url": "https://u:p@receiver.example/"},
	"callback_url with a fragment":       {"async": true, "response_mode": "urls", "callback_url": "https://receiver.example/#x"},
	"an empty callback_url":              {"async": true, "response_mode": "urls", "callback_url": ""},
	"a malformed callback_url":           {"async": true, "response_mode": "urls", "callback_url": "https://rece iver.example/%zz"},
	"a callback_url that is no string":   {"async": true, "response_mode": "urls", "callback_url": 5},
	"a callback_url that is too long":    {"async": true, "response_mode": "urls", "callback_url": "https://receiver.example/" + strings.Repeat("x", 1024)},
	"a prompt that is no string":         {"prompt": 5},
	"a prompt that is too long":          {"prompt": "blur " + strings.Repeat("x", 2000)},
	"too many changes":                   {"prompt": strings.Repeat("blur ", 17)},
	"a size that is too large":           {"prompt": "resize 100000x100000"},
	"a resize without size":              {"prompt": "resize it"},
	"both image and image_url":           {"image": base64.StdEncoding.EncodeToString(cat), "image_url": "https://pictures.example/cat.png"},
	"an image that is not base64":        {"image": "***"},
	"an image that is no string":         {"image": 5},
	"a data URL that is not base64":      {"image": "data:image/png,abc"},
	"an image_url that is no URL":        {"image_url": "cat.png"},
	"an empty client_request_id":         {"client_request_id": ""},
	"a client_request_id that is no str": {"client_request_id": 5},
	"a client_request_id too long":       {"client_request_id": strings.Repeat("x", 256)},
}

func init() {
	suite.Case("what an endpoint does not take is 422, and nothing has happened", "S5-03 S5-04 S5-05 S5-06 S5-07 S5-11 S5-60 D-S5-03 D-S5-05 D-S5-40",
		func(t *testing.T, open contract.Opener) {
			s := newStudio(t, open, nil)
			for _, op := range operations {
				for what, more := range unprocessable {
					if op == "generate" && (more["image"] != nil || more["image_url"] != nil) {
						continue // it draws an image of its own
					}
					body := request(op, more)
					if body["client_request_id"] == nil {
						body["client_request_id"] = "refused"
					}
					a := s.alice.Do(t, "POST", "/"+op, body)
					if a.Status != 422 {
						t.Errorf("%s: %s: got %d, want 422: %.200s", op, what, a.Status, a.Body)
						continue
					}
					a.Problem(t, 422, "invalid_field")
					// Somebody without the money is told the same.
					s.poor.Do(t, "POST", "/"+op, body).Problem(t, 422, "invalid_field")
				}
			}
			s.balance(s.alice, 100)
			// The id has not been used up: this makes a job, and is no repeat of one.
			s.inline(s.alice.Do(t, "POST", "/edit", request("edit", object{"client_request_id": "refused"})))
		})

	suite.Case("all but generate need an image, and none a prompt", "S5-11 S5-60", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		picture := base64.StdEncoding.EncodeToString(cat)
		for _, op := range []string{"edit", "enhance", "remix"} {
			s.alice.Do(t, "POST", "/"+op, object{"prompt": "blur"}).Problem(t, 422, "invalid_field")
		}
		for _, op := range operations {
			s.inline(s.alice.Do(t, "POST", "/"+op, object{"image": picture}))
			s.inline(s.alice.Do(t, "POST", "/"+op, object{"image": picture, "prompt": "make it nice"}))
		}
	})

	suite.Case("an image that cannot be read is a failure of the job, which costs nothing", "S5-11 S5-22 S5-50", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		for what, p := range map[string][]byte{"no image": []byte("no image"), "half an image": cat[:len(cat)/2], "too many pixels": huge} {
			image := base64.StdEncoding.EncodeToString(p)
			s.alice.Do(t, "POST", "/edit", object{"image": image}).Problem(t, 422, "invalid_image")
			id := s.submit("edit", object{"image": image})
			if e, _ := s.poll(id, "failed")["error"].(object); e["code"] != "invalid_image" || e["message"] == "" {
				t.Errorf("%s: got %v", what, e)
			}
		}
		s.balance(s.alice, 100)
	})

	suite.Case("credentials are asked for", "D-ALL-401 D-ALL-ERR", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		id := s.submit("generate", nil)
		for _, c := range []*contract.Client{s.nobody, s.nobody.With("Authorization", "Bearer wrong"), s.nobody.With("Authorization", "Basic alice-token")} {
			for _, path := range []string{"POST /edit", "POST /generate", "POST /enhance", "POST /remix", "GET /jobs/" + id, "GET /balance", "GET /webhook-secret"} {
				method, path, _ := strings.Cut(path, " ")
				a := c.Do(t, method, path, nil)
				a.Problem(t, 401, "unauthorized")
				wantEqual(t, path+" challenge", a.Header.Get("WWW-Authenticate"), "Bearer")
			}
		}
	})

	suite.Case("wrong methods and paths are told", "D-ALL-405 D-ALL-404 D-ALL-ERR S5-20 S5-01", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		for path, allow := range map[string]string{
			"/edit": "POST", "/generate": "POST", "/enhance": "POST", "/remix": "POST", "/jobs/x": "GET, HEAD", "/balance": "GET, HEAD", "/webhook-secret": "GET, HEAD",
		} {
			a := s.alice.Do(t, "DELETE", path, nil)
			a.Problem(t, 405, "method_not_allowed")
			wantEqual(t, path+" allows", a.Header.Get("Allow"), allow)
		}
		for _, path := range []string{"/", "/jobs/", "/paint", "https://photo.example/v1/queues/images/poll"} {
			s.alice.Do(t, "GET", path, nil).Problem(t, 404, "not_found")
		}
	})

	suite.Case("bodies that are no JSON object are 400, larger ones than allowed 413, and unknown fields ignored", "D-ALL-400 D-ALL-413 D-ALL-ERR",
		func(t *testing.T, open contract.Opener) {
			s := newStudio(t, open, nil)
			large := `{"prompt": "blur", "image": "` + strings.Repeat("A", 32<<20) + `"}`
			chunk := fmt.Sprintf("%x\r\n%s\r\n", len(large), large)
			for _, op := range operations {
				for _, body := range []string{`{"prompt": `, `[]`, `"x"`, `{"prompt": "a"} {}`, "{\"prompt\": \"\xff\"}", `prompt=a`} {
					s.alice.Do(t, "POST", "/"+op, body).Problem(t, 400, "invalid_request")
				}
				s.raw(op, "Content-Length: 33554433", "").Problem(t, 413, "too_large")
				s.raw(op, "Transfer-Encoding: chunked", chunk).Problem(t, 413, "too_large")
				body := request(op, object{"shoe_size": 43, "metadata": object{"a": []int{1}}, "ASYNC": true, "Callback_URL": 7})
				s.inline(s.alice.Do(t, "POST", "/"+op, body))
			}
			s.balance(s.alice, 100-len(operations)*finalCost)
		})
}
